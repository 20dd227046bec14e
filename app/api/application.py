"""The application: routes, limits and what begins and ends with the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api import chat, embeddings, models
from app.api.errors import ApiError, on_error, on_http, on_invalid
from app.api.gate import Gate
from app.api.library import Library
from app.api.service import Service
from app.settings import Settings
from indexer.errors import FootnoteError


def create_app(settings: Settings) -> FastAPI:
    """Make the application of one server."""
    section = settings.server
    service = Service(section, Library(settings), Gate(section.answers, section.queue))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.gate.close()

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
    for room in (chat, models, embeddings):
        app.include_router(room.router)
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]
    return app


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
