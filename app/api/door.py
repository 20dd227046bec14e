"""What every request passes: its number, who asks, how much and how often, the headers of its answer, the log."""

import json
import logging
import math
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.access import asks_for_keys, identify
from app.api.errors import ApiError, error_response, refusal
from app.api.service import Service
from app.caller import ANYBODY, Caller
from app.sections.serving import ServerSection
from app.ui.launch import LOOPBACK

logger = logging.getLogger(__name__)
requests_log = logging.getLogger("app.api.requests")
OPEN = ("/health", "/ready", "/openapi.json")  # they say nothing of anybody's documents
UPLOAD = "/documents"
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Rates:
    """So many requests a minute for each key, saved up for at most one (a token bucket). For one thread."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, now_s: float) -> None:
        """Count a request.

        Raises:
            ApiError: the key has none left (429).
        """
        if not self._per_minute:
            return
        left, since = self._left.get(key_id, (float(self._per_minute), now_s))
        left = min(self._per_minute, left + (now_s - since) * self._per_minute / 60)
        if left < 1:
            self._left[key_id] = (left, now_s)
            wait_s = math.ceil((1 - left) * 60 / self._per_minute)
            message = f"This key may make {self._per_minute} requests a minute."
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after_s=wait_s)
        self._left[key_id] = (left - 1, now_s)


class Door:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._rates = Rates(service.section.rate_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        number = given if _ID.fullmatch(given) else uuid4().hex
        began, status = time.perf_counter(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = number
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._pass(scope, receive, told)
        except Exception as error:
            logger.exception("request %s failed", number)
            if status == 0:
                await error_response(refusal(error))(scope, receive, told)
        finally:
            self._note(scope, number, status, time.perf_counter() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        section, headers = self._service.section, Headers(scope=scope)
        limit = _limit(scope, section)
        try:
            _check_origin(scope, headers, section)
            if scope["path"] in OPEN:
                scope["caller"] = ANYBODY
            else:
                scope["caller"] = await run_in_threadpool(self._identify, headers)
                if scope["caller"].id:
                    self._rates.take(scope["caller"].id, time.monotonic())
            length = headers.get("content-length", "0")
            if length.isascii() and length.isdigit() and int(length) > limit:
                raise too_large(limit)
        except ApiError as refused:
            await error_response(refused)(scope, receive, send)
            return
        await self._app(scope, _limited(receive, limit), send)

    def _identify(self, headers: Headers) -> Caller:
        section, keys = self._service.section, self._service.keys
        if not asks_for_keys(section, keys) and _hostname(headers.get("host", "")) not in LOOPBACK:
            # A page of another site must not reach this one by giving its own name our address.
            raise ApiError(403, "Without keys the API answers only under this machine's own names.", code="host")
        return identify(headers.get("authorization", ""), section, keys)

    def _note(self, scope: Scope, number: str, status: int, seconds: float) -> None:
        """One line a request, and none of its words: the route's pattern stands for its path."""
        route = getattr(scope.get("route"), "path", "-")
        caller = scope.get("caller", ANYBODY)
        line: Mapping[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request": number,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "key": caller.id,
        }
        requests_log.info(json.dumps(line))
        self._service.metrics.request(_method(scope), route, status, seconds)


def too_large(limit: int) -> ApiError:
    """What to say of a body over the limit of bytes."""
    return ApiError(413, f"The request is over the limit of {limit / 2**20:.3g} MiB.", code="too_large")


def _limit(scope: Scope, section: ServerSection) -> int:
    is_upload = scope["path"] == UPLOAD and scope["method"] == "POST"
    return round((section.max_upload_mb if is_upload else section.max_body_mb) * 2**20)


def _limited(receive: Receive, limit: int) -> Receive:
    """Count a body of which nobody said how long it is."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise HTTPException(413, too_large(limit).message.rstrip("."))  # the parsers of bodies let it through
        return message

    return counted


def _check_origin(scope: Scope, headers: Headers, section: ServerSection) -> None:
    """Refuse what a page of another site has a browser send, unless the settings name it."""
    origin = headers.get("origin")
    if origin is None or scope["method"] in ("GET", "HEAD", "OPTIONS") or origin in section.origins:
        return
    if origin != f"{scope.get('scheme', 'http')}://{headers.get('host', '')}":
        raise ApiError(403, "Pages of other sites may not call the API (server.origins).", code="origin")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")
    return scope["method"] if scope["method"] in known else "other"
