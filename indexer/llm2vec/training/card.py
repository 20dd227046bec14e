"""The model card: what an adapter was made from, how, and what came out, beside the adapter itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from indexer.llm2vec.training.pairs import Pair, by_source
from indexer.llm2vec.training.settings import ContrastiveSettings

CARD_FILE = "README.md"
FACTS_FILE = "training.json"
LIBRARIES = ("torch", "transformers", "peft", "tokenizers")


def write_card(settings: ContrastiveSettings, pairs: Sequence[Pair], figures: dict[str, float], command: str) -> None:
    """Write training.json (for programs) and README.md (for people) into the run's folder."""
    facts = {
        "stage": "contrastive",
        "base": settings.base_name,
        "data": {"file": settings.pairs.name, "pairs": {name: len(group) for name, group in by_source(pairs).items()}},
        "teacher": settings.teacher_name,
        "settings": _plain(settings),
        "figures": figures,
        "libraries": {name: version(name) for name in LIBRARIES},
        "command": command,
    }
    (settings.out / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    (settings.out / CARD_FILE).write_text(_card(facts))


def _plain(settings: ContrastiveSettings) -> dict[str, Any]:
    # Where a file lay on the trainer's disk is nobody else's business and helps no one repeat the run.
    paths = ("model_dir", "pairs", "out", "teacher_dir")
    return {key: value for key, value in asdict(settings).items() if key not in paths}


def _card(facts: dict[str, Any]) -> str:
    settings, figures = facts["settings"], facts["figures"]
    sources = "\n".join(f"| {name} | {count} |" for name, count in facts["data"]["pairs"].items())
    results = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    teacher = f", with the similarities of {facts['teacher']} distilled (KL)" if facts["teacher"] else ""
    kept = f"the first {settings['layers']} layers" if settings["layers"] else "all layers"
    return f"""---
base_model: {facts["base"]}
library_name: peft
---
# An LLM2Vec adapter for {facts["base"]}

LoRA of rank {settings["rank"]} on all seven projections of {kept}. Load these layers of the base with
`config.is_causal = False`, add this adapter with PEFT, and take the mean over the text's own tokens. Trained
contrastively on pairs{teacher};
seed {settings["seed"]}.

    {facts["command"]}

| Source in {facts["data"]["file"]} | Pairs at hand |
|---|---|
{sources}

| Figure | Value |
|---|---|
{results}

All settings and library versions are in {FACTS_FILE}; each step's losses are in the run's log.jsonl.
"""
