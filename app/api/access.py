"""Who asks, and what they may do. The door finds out who before it reads a body; endpoints say what they need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.errors import ApiError
from app.api.keys import SCOPES, Keys, Scope
from app.sections import ServerSection

_bearer = HTTPBearer(auto_error=False, description="A key of `footnote keys create`, where keys are asked for.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with rights; `key_id` is empty where no keys are asked for."""

    key_id: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None = None

    def may_use(self, collection: str) -> bool:
        """Whether a collection is within reach."""
        return self.collections is None or collection in self.collections

    def check(self, collection: str) -> None:
        """Refuse a collection that is out of reach, whether it exists or not.

        Raises:
            ApiError: it is (403).
        """
        if not self.may_use(collection):
            raise ApiError(403, "This key is not for that collection.", code="collection_not_allowed")


ANYBODY = Caller("", SCOPES)


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
    return Caller(key.id, key.scopes, key.collections)


def _allowed(scope: Scope) -> Callable[..., Caller]:
    def allowed(
        request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
    ) -> Caller:
        caller = cast(Caller, request.scope["caller"])
        if scope not in caller.scopes and "admin" not in caller.scopes:
            raise ApiError(403, f"This key may not {scope}.", code="scope_missing")
        return caller

    return allowed


Reader = Annotated[Caller, Depends(_allowed("read"))]
Ingester = Annotated[Caller, Depends(_allowed("ingest"))]
Admin = Annotated[Caller, Depends(_allowed("admin"))]
