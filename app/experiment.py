"""Two settings served side by side: who gets which, and what came of it.

An arm is drawn for a unit, which is a conversation or what comes nearest to one, by a hash under the experiment's name
(hash and partition: Kohavi et al. 2009, "Controlled experiments on the web"): no state is kept, so that a restart,
another process or another door draws the same; and another name draws anew, independently.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from app.database import Database
from app.sections.serving import ExperimentSection
from app.settings import Settings, overridden
from generator.answer import Answer
from indexer.store.changes import now

ArmName = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Arm:
    """Which settings a unit gets: a as they are, b with the overrides."""

    experiment: str
    name: ArmName
    unit: str  # hash of the conversation or user
    definition: str  # hash of share and overrides: results under different ones are not the same experiment's


@dataclass(frozen=True, slots=True)
class Exposure:
    """One answer of an experiment, without a word of it."""

    arm: ArmName
    unit: str
    definition: str
    abstained: bool
    total_ms: float
    thumb: str  # the last one: up, down or empty


def assign(section: ExperimentSection, unit: str) -> Arm | None:
    """Draw the arm of a unit; None while no experiment runs."""
    if not section.name:
        return None
    drawn = _hash(unit, section.name)
    is_b = int.from_bytes(drawn) < section.share * 2**64
    defined = json.dumps([section.share, section.overrides], sort_keys=True)
    return Arm(section.name, "b" if is_b else "a", drawn.hex(), _hash(defined, section.name).hex())


def arm_settings(settings: Settings, name: ArmName) -> Settings:
    """The settings of one arm."""
    return overridden(settings, settings.experiment.overrides) if name == "b" else settings


def record_exposure(database: Database, arm: Arm | None, answer_id: str, answer: Answer) -> None:
    """Keep what an arm's answer was like: that it was given, whether it declined, and how long it took.

    Raises:
        IndexError_: the store cannot be written.
    """
    if arm is None:
        return
    figures = (int(answer.abstained), answer.timings_ms.get("total", 0.0))
    with database.connected() as db:
        db.execute(
            "INSERT OR REPLACE INTO exposure (answer_id, at, experiment, arm, unit, definition, abstained, total_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (answer_id, now(), arm.experiment, arm.name, arm.unit, arm.definition, *figures),
        )


def experiments(database: Database) -> list[str]:
    """Names of the experiments with an answer, that with the latest one last.

    Raises:
        IndexError_: the store cannot be read.
    """
    with database.connected() as db:
        rows = db.execute("SELECT experiment FROM exposure GROUP BY experiment ORDER BY max(rowid)").fetchall()
    return [name for (name,) in rows]


def exposures(database: Database, experiment: str) -> list[Exposure]:
    """The answers of an experiment, oldest first, each with its last thumb.

    Raises:
        IndexError_: the store cannot be read.
    """
    with database.connected() as db:
        rows = db.execute(_EXPOSURES, (experiment,)).fetchall()
    return [Exposure(arm, unit, definition, bool(abstained), *rest) for arm, unit, definition, abstained, *rest in rows]


def _hash(text: str, key: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), key=key.encode(), digest_size=8).digest()


_EXPOSURES = """
SELECT arm, unit, definition, abstained, total_ms, coalesce(
    (SELECT thumb FROM feedback WHERE answer_id = exposure.answer_id ORDER BY number DESC LIMIT 1), '')
FROM exposure WHERE experiment = ? ORDER BY rowid
"""
