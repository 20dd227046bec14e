"""run.json: what a run's folder belongs to, so that two runs are never mixed."""

import json
from dataclasses import asdict
from typing import Any

from indexer.errors import ConfigError
from indexer.llm2vec.training.checkpoint import FILE as CHECKPOINT_FILE
from indexer.llm2vec.training.settings import RunSettings
from indexer.llm2vec.weights import weights_hash

RUN_FILE = "run.json"
# A folder may be moved, and where a run ends and how often it saves may change on the way.
PATHS = ("model_dir", "out", "start", "pairs", "teacher_dir", "dev_file")
CHANGEABLE = (*PATHS, "max_steps", "budget_s", "checkpoint_every_s", "dev_every_steps", "micro_tokens", "grad_cache")


def plain_settings(settings: RunSettings, left_out: tuple[str, ...] = PATHS) -> dict[str, Any]:
    """Settings as JSON has them."""
    kept = {key: value for key, value in asdict(settings).items() if key not in left_out}
    plain: dict[str, Any] = json.loads(json.dumps(kept))
    return plain


def check_identity(settings: RunSettings, stage: str, data_sha256: str) -> None:
    """Refuse a folder that holds something else than this run; write down whose it is when it is new.

    Raises:
        ConfigError: the folder holds a run with other settings or data, or an adapter that no run left there.
    """
    path = settings.out / RUN_FILE
    now = {"stage": stage, "data": data_sha256, "base": weights_hash(settings.model_dir)}
    now |= {"start": weights_hash(settings.start)} if settings.start else {}
    now |= plain_settings(settings, CHANGEABLE)
    if path.is_file():
        then = _read(settings)
        changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
        if changed:
            told = ", ".join(f"{key} was {_short(then.get(key))} and is {_short(now.get(key))}" for key in changed)
            raise ConfigError(
                f"{settings.out} holds a run with other settings: {told}.",
                "Name another folder with --out, or give the settings it was begun with.",
            )
        return
    ours = (settings.out / CHECKPOINT_FILE).is_file()  # a run from before run.json was written
    if (settings.out / "adapter_config.json").is_file() and not ours:
        raise ConfigError(f"{settings.out} already holds an adapter.", "Name another folder with --out.")
    path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")


def _read(settings: RunSettings) -> dict[str, Any]:
    path = settings.out / RUN_FILE
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}", "Name another folder with --out.") from error
    return dict(then)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
