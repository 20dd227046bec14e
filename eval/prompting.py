"""Prompts of judges: files with a version, and the judged texts behind a fence that they cannot close.

What counts in an answer depends on the kind of question, so the criteria of a domain are files of their own, put into
the prompt; with a reference answer where one is known (Zheng et al. 2023, arXiv:2306.05685, for Vicuna's questions).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from generator.fence import fence_for, neutral
from generator.prompt import Message
from indexer.errors import ConfigError

PROMPTS = Path(__file__).parent / "prompts"
DOMAINS = ("general", "coding", "math", "writing")
_DOMAIN_VERSION = 1
_GUIDED = "A reference answer is given. It is right: hold what is to be judged against it."
_UNGUIDED = "There is no reference answer: find out by yourself what is right."


@dataclass(frozen=True, slots=True)
class Rubric:
    """A prompt, and the domain whose criteria stand in it; an empty domain for a prompt that has its own."""

    prompt: str
    domain: str = ""

    @property
    def name(self) -> str:
        """Prompt and domain with their versions."""
        return f"{self.prompt}, {self.domain}-{_DOMAIN_VERSION}" if self.domain else self.prompt

    @property
    def criteria(self) -> str:
        """What counts in the domain.

        Raises:
            ConfigError: there is no such domain.
        """
        if self.domain not in DOMAINS:
            raise ConfigError(f"There is no domain {self.domain}.", f"Choose from: {', '.join(DOMAINS)}.")
        return read_prompt(f"domain-{self.domain}-{_DOMAIN_VERSION}").strip()

    def messages(self, fields: Mapping[str, str], inserts: Mapping[str, str] | None = None) -> tuple[Message, ...]:
        """The prompt with the fields; in a domain, an empty reference is left out and the prompt says so."""
        if not self.domain:
            return messages(self.prompt, fields, inserts)
        guided = bool(fields.get("Reference"))
        told = {**(inserts or {}), "domain": self.criteria, "reference": _GUIDED if guided else _UNGUIDED}
        return messages(self.prompt, {k: text for k, text in fields.items() if k != "Reference" or guided}, told)


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
