"""The application: routes, limits and what begins and ends with the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app.api import chat, documents, embeddings, feedback, models, monitor, search
from app.api.door import Door
from app.api.errors import ApiError, on_error, on_http, on_invalid
from app.api.gate import Gate
from app.api.ingests import Ingests
from app.api.keys import Keys
from app.api.library import Library
from app.api.metrics import Metrics
from app.api.service import Service
from app.audit import Audit
from app.database import Database
from app.settings import Settings
from indexer.errors import FootnoteError


def create_app(settings: Settings) -> FastAPI:
    """Make the application of one server."""
    service = _build(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.ingests.start()
        service.warming.start()
        yield
        service.warming.stop()
        service.ingests.stop()
        service.answers.close()
        service.searches.close()

    app = FastAPI(
        title="Footnote",
        version=_version(),
        summary="Answers from your own documents, with every claim footnoted to the exact words it rests on.",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
        exception_handlers={
            ApiError: on_error,
            FootnoteError: on_error,
            RequestValidationError: on_invalid,
            HTTPException: on_http,
        },
    )
    app.state.service = service
    for part in (chat, models, embeddings, search, documents, feedback, monitor):
        app.include_router(part.router)
    app.add_middleware(Door, service=service)
    if settings.server.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.server.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]
    return app


def _build(settings: Settings) -> Service:
    section, library, database = settings.server, Library(settings), Database(settings.home)
    answers = Gate(section.answers, section.queue, section.wait_s)
    searches = Gate(section.searches, section.queue, section.wait_s)
    ingests = Ingests(database, library, section.ingests)
    levels = {
        "answers_running": lambda: answers.running,
        "answers_waiting": lambda: answers.waiting,
        "searches_running": lambda: searches.running,
        "searches_waiting": lambda: searches.waiting,
        "uploads_waiting": lambda: ingests.waiting,
    }
    return Service(
        section=section,
        library=library,
        answers=answers,
        searches=searches,
        database=database,
        keys=Keys(database),
        audit=Audit(database),
        ingests=ingests,
        recent=feedback.Recent(),
        metrics=Metrics(levels),
        warming=monitor.Warming(library),
    )


def _schema(app: FastAPI) -> dict[str, Any]:
    """The schema without FastAPI's own 422: a wrong request gets OpenAI's 400."""
    schema = FastAPI.openapi(app)
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    return schema


def _version() -> str:
    try:
        return version("footnote")
    except PackageNotFoundError:  # run from its folder, it is not installed
        return "0"
