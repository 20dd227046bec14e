"""Errors as OpenAI's clients know them: {"error": {"message", "type", "param", "code"}} under the right status."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from indexer.errors import ConfigError, DocumentError, FootnoteError, ModelError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorFields(BaseModel):
    """What went wrong, and what to do about it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The document of every answer that is an error."""

    error: ErrorFields


class ApiError(Exception):
    """A request that is refused. `retry_after_s` says when it is worth another try."""

    def __init__(
        self, status: int, message: str, *, code: str = "", param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.retry_after_s = status, message, param, retry_after_s
        self.code = code or None


def refusal(error: Exception) -> ApiError:
    """What a caller is told of any error; of one that nobody foresaw only that it happened."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, FootnoteError):
        message = f"{error.message.rstrip('.')}. {error.remedy}".strip()
        return ApiError(_status(error), message, code=error.kind)
    return ApiError(500, "Something went wrong inside Footnote; the server's log has the details.")


def error_fields(error: ApiError) -> dict[str, Any]:
    """The document of a refusal."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    fields = ErrorFields(message=error.message, type=kind, param=error.param, code=error.code)
    return {"error": {name: storable(value) for name, value in fields}}


def error_response(error: ApiError) -> JSONResponse:
    """The answer to a request that is refused."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_fields(error), error.status, headers)


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """Answer an ApiError or a FootnoteError."""
    return error_response(refusal(error))


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a request whose body or parameters are not as documented."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return error_response(ApiError(400, f"{param or first['loc'][0]}: {first['msg']}.", param=param, code="invalid"))


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: an unknown path, a wrong method, a body that is no JSON or too large."""
    assert isinstance(error, HTTPException)
    answer = error_response(ApiError(error.status_code, f"{error.detail}."))
    answer.headers.update(error.headers or {})
    return answer


def storable(value: Any) -> Any:
    """Text without half surrogate pairs, which a request may hold and no answer can."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _status(error: FootnoteError) -> int:
    if isinstance(error, ConfigError | DocumentError):
        return 400
    return 502 if isinstance(error, ModelError) else 409


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the schema: the refusals of an endpoint beside those that any may give."""
    return {status: {"model": ErrorBody} for status in sorted({400, 401, 403, 413, 429, *statuses})}
