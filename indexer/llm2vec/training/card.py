"""The model card: what an adapter was made from, how, and what came out, beside the adapter itself."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from indexer.llm2vec.training.identity import plain_settings
from indexer.llm2vec.training.settings import RunSettings

CARD_FILE = "README.md"
FACTS_FILE = "training.json"
LIBRARIES = ("torch", "transformers", "peft", "tokenizers")
OBJECTIVES = {
    "mntp": "masked next-token prediction: a masked token is predicted from the state of the position before it",
    "simcse": "unsupervised SimCSE: a text is to find itself under another dropout mask among the batch",
    "contrastive": "contrastive learning on pairs: an anchor is to find its positive among the batch",
}


def write_card(settings: RunSettings, stage: str, data: dict[str, Any], figures: dict[str, Any], command: str) -> None:
    """Write training.json (for programs) and README.md (for people) into the run's folder."""
    facts = {
        "stage": stage,
        "base": settings.base_name,
        "earlier": _earlier(settings.start),
        "data": data,
        "teacher": getattr(settings, "teacher_name", ""),
        "settings": plain_settings(settings),
        "figures": figures,
        "libraries": {name: version(name) for name in LIBRARIES},
        "command": command,
    }
    (settings.out / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (settings.out / CARD_FILE).write_text(_card(facts), encoding="utf-8")


def _earlier(start: Path | None) -> list[dict[str, Any]]:
    """The stages that the parameters had gone through before, first one first."""
    if start is None:
        return []
    try:
        facts = json.loads((start / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [{"stage": "unknown", "data": {}, "figures": {}, "command": ""}]
    kept = ("stage", "data", "teacher", "settings", "figures", "command")
    return [*facts.get("earlier", []), {key: facts.get(key) for key in kept}]


def _card(facts: dict[str, Any]) -> str:
    settings, data = facts["settings"], facts["data"]
    sources = "\n".join(f"| {name} | {count} |" for name, count in data["sources"].items())
    results = "\n".join(f"| {name} | {value} |" for name, value in facts["figures"].items())
    teacher = f", with the similarities of {facts['teacher']} distilled (KL)" if facts["teacher"] else ""
    asked = settings["query_instruction"]
    instruction = f" Questions stand behind the instruction `{asked}`, which pooling leaves out." if asked else ""
    kept = f"the first {settings['layers']} layers" if settings["layers"] else "all layers"
    earlier = "".join(f"{stage['stage']}, then " for stage in facts["earlier"])
    before = "".join(f"    {stage['command']}\n" for stage in facts["earlier"])
    return f"""---
base_model: {facts["base"]}
library_name: peft
---
# An LLM2Vec adapter for {facts["base"]}

LoRA of rank {settings["rank"]} on all seven projections of {kept}. Load these layers of the base with
`config.is_causal = False`, add this adapter with PEFT, and pool (`{settings["pooling"]}`) over the text's own
tokens.{instruction}

Stages: {earlier}{facts["stage"]}. The last one is {OBJECTIVES[facts["stage"]]}{teacher}; seed {settings["seed"]}.

{before}    {facts["command"]}

| Source in {data["from"]} | {data["unit"].capitalize()} at hand |
|---|---|
{sources}

| Figure | Value |
|---|---|
{results}

All settings and library versions are in {FACTS_FILE}; each step's losses are in log.jsonl and drawn in curves.svg.
"""
