"""What the endpoints share."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from app.api.gate import Gate
from app.api.library import Library
from app.sections import ServerSection


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running server."""

    section: ServerSection
    library: Library
    gate: Gate


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


Served = Annotated[Service, Depends(_service)]
