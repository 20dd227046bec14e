"""Prompts of judges: files with a version, and the judged texts behind a fence that they cannot close."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from generator.fence import fence_for, neutral
from generator.prompt import Message
from indexer.errors import ConfigError

PROMPTS = Path(__file__).parent / "prompts"


def messages(prompt: str, fields: Mapping[str, str], inserts: Mapping[str, str] | None = None) -> tuple[Message, ...]:
    """The rules of a prompt as the system, and each field in a fence of its own as the user.

    `inserts` are trusted text: what stands for {name} in the rules.
    """
    fence = fence_for(list(fields.values()))
    rules = read_prompt(prompt)
    for name, text in {**(inserts or {}), "fence": fence}.items():
        rules = rules.replace(f"{{{name}}}", text)
    parts = [f'<{fence} what="{name}">\n{neutral(text)}\n</{fence}>' for name, text in fields.items()]
    return Message("system", rules), Message("user", "\n\n".join(parts))


@cache
def read_prompt(name: str) -> str:
    """Text of a prompt by its name, which ends in its version.

    Raises:
        ConfigError: there is none.
    """
    path = PROMPTS / f"{name}.md"
    if not path.is_file():
        raise ConfigError(f"There is no prompt {name}.", f"The prompts are in {PROMPTS}.")
    return path.read_text(encoding="utf-8")
