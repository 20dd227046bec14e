"""What the endpoints share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from app.api.gate import Gate
from app.api.ingests import Ingests
from app.api.keys import Keys
from app.api.library import Library
from app.api.metrics import Metrics
from app.audit import Audit
from app.database import Database
from app.sections.serving import ServerSection

if TYPE_CHECKING:
    from app.api.feedback import Recent
    from app.api.monitor import Warming


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running server."""

    section: ServerSection
    library: Library
    answers: Gate
    searches: Gate  # of their own: a search takes milliseconds, and must not stand behind answers
    database: Database
    keys: Keys
    audit: Audit
    ingests: Ingests
    recent: "Recent"
    metrics: Metrics
    warming: "Warming"


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


Served = Annotated[Service, Depends(_service)]
