"""log.jsonl: one row for each step and for each measurement on held-out data."""

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
Row = dict[str, Any]


class RunLog:
    """The rows of a run, on disk as they come. Steps after the checkpoint that a run goes on from are taken anew."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open the log of a run that stands at `step`."""
        self._path = folder / LOG_FILE
        self.rows = [row for row in _read(self._path) if row.get("step", step) <= step and step]
        scratch = self._path.with_suffix(".part")
        scratch.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
        scratch.replace(self._path)

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        logger.info("%s", " ".join(f"{key}={value}" for key, value in row.items()))

    def last_dev(self) -> Row:
        """Give the figures of the last measurement; empty when there was none."""
        measured = [row for row in self.rows if is_dev(row)]
        return {key: value for key, value in measured[-1].items() if key != "step"} if measured else {}


def is_dev(row: Row) -> bool:
    """Whether a row is a measurement and not a step."""
    return "step" in row and any(key.startswith("dev_") for key in row)


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # a kill cut the last line off
            logger.debug("dropped a broken line of %s", path)
    return rows
