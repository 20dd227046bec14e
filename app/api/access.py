"""Who asks the API. The door finds out who before it reads a body; endpoints say what they need."""

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.errors import ApiError
from app.api.keys import Keys, Scope
from app.caller import ANYBODY, Caller, caller_of
from app.sections.serving import ServerSection

_bearer = HTTPBearer(auto_error=False, description="A key of `footnote keys create`, where keys are asked for.")


def asks_for_keys(section: ServerSection, keys: Keys) -> bool:
    """Whether a request needs a key."""
    return section.auth == "keys" or keys.exist()


def identify(authorization: str, section: ServerSection, keys: Keys) -> Caller:
    """Find out who asks, by the Authorization header.

    Raises:
        ApiError: a key is needed, and this is none, or one that expired or was revoked (401).
    """
    if not asks_for_keys(section, keys):
        return ANYBODY
    scheme, _, secret = authorization.partition(" ")
    key = keys.find(secret.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise ApiError(401, "A valid API key is needed: Authorization: Bearer KEY.", code="invalid_api_key")
    return caller_of(key)


def _allowed(scope: Scope) -> Callable[..., Caller]:
    def allowed(
        request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
    ) -> Caller:
        caller = cast(Caller, request.scope["caller"])
        if not caller.may(scope):
            raise ApiError(403, f"This key may not {scope}.", code="scope_missing")
        return caller

    return allowed


Reader = Annotated[Caller, Depends(_allowed("read"))]
Ingester = Annotated[Caller, Depends(_allowed("ingest"))]
Admin = Annotated[Caller, Depends(_allowed("admin"))]
