"""/health, /ready and /metrics: for whoever runs the server."""

import logging
import threading
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.api.access import Admin
from app.api.errors import described
from app.api.library import Library
from app.api.metrics import CONTENT_TYPE
from app.api.service import Served
from app.resident import keep_loaded
from app.resolved import uses_server
from indexer.errors import FootnoteError

logger = logging.getLogger(__name__)
router = APIRouter(tags=["monitor"])
_AGAIN_S = 5.0


class Health(BaseModel):
    """The server runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether a question would be answered, and if not, why."""

    ready: bool
    reason: str = ""


class Warming:
    """Loads the models before the first question asks for them, and tries again when one is not there.

    A model server may go at any time, so it is asked as long as this one runs.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._loaded = False
        self._stopping = threading.Event()
        self.state = Readiness(ready=False, reason="The models are being loaded.")

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._work, name="footnote-warm", daemon=True).start()

    def stop(self) -> None:
        """Try no more."""
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._library.warm()
                self._now_ready()
                if not uses_server(self._library.settings):
                    return
            except FootnoteError as error:
                if error.message != self.state.reason:
                    logger.warning("not ready: %s", error.message)
                self.state = Readiness(ready=False, reason=error.message)
            except Exception:
                logger.exception("the models could not be loaded")
                self.state = Readiness(ready=False, reason="The models could not be loaded; the log has the details.")
            self._stopping.wait(_AGAIN_S)

    def _now_ready(self) -> None:
        if not self._loaded:
            keep_loaded()  # once: later the rest of the process is alive, too, and not for good
            self._loaded = True
        elif not self.state.ready:
            logger.info("ready again")
        self.state = Readiness(ready=True)


@router.get("/health")
async def health() -> Health:
    """Say that the server runs."""
    return Health()


@router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(service: Served) -> Response:
    """Say whether the models are there."""
    state = service.warming.state
    return JSONResponse(state.model_dump(), 200 if state.ready else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **described()},
)
def metrics(caller: Admin, service: Served) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
