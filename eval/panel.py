"""Several judges as one: a panel of smaller, different judges (PoLL, Verga et al. 2024, arXiv:2404.18796).

One member that fails fails the panel's verdict: a vote of fewer members would be another judge's.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Generic, TypeVar

from eval.judge import Grader, Judge, Pair, Verdict
from generator.usage import Usage
from indexer.errors import ConfigError

Member = TypeVar("Member", Judge, Grader)


class _Panel(Generic[Member]):
    """Two members or more."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Join members.

        Raises:
            ConfigError: there are fewer than two.
        """
        if len(members) < 2:
            raise ConfigError("A panel needs two judges at least.", "Name more with --panel.")
        self.members: tuple[Member, ...] = tuple(members)

    @property
    def name(self) -> str:
        """The members."""
        return f"panel of {'; '.join(member.name for member in self.members)}"


class PanelJudge(_Panel[Judge]):
    """Lets every member compare, and follows the majority."""

    def compare(self, pair: Pair) -> Verdict:
        """Prefer what most members prefer, neither where that is none alone; the value is their mean preference."""
        verdicts = {member.name: member.compare(pair) for member in self.members}
        votes = [verdict.preference for verdict in verdicts.values()]
        ordered = [verdict.consistent for verdict in verdicts.values() if verdict.consistent is not None]
        said = {
            name: {"preference": v.preference, "value": v.value, "said": dict(v.said)} for name, v in verdicts.items()
        }
        usage = sum((verdict.usage for verdict in verdicts.values()), Usage())
        return Verdict(majority(votes), fmean(votes), all(ordered) if ordered else None, said, usage)


class PanelGrader(_Panel[Grader]):
    """Lets every member grade, and gives the mean."""

    @property
    def needs_reference(self) -> bool:
        """Whether a member needs one."""
        return any(member.needs_reference for member in self.members)

    def grade(self, question: str, reference: str, answer: str) -> dict[str, Any]:
        """{"grade", "explanation": every member's, "usage", "said": {member: what it gave}}."""
        said = {member.name: member.grade(question, reference, answer) for member in self.members}
        told = [f"{given['grade']:g}: {given['explanation']}".rstrip(": ") for given in said.values()]
        usage = sum((Usage(**given["usage"]) for given in said.values()), Usage())
        return {
            "grade": round(fmean(given["grade"] for given in said.values()), 4),
            "explanation": " / ".join(told),
            "usage": usage.as_json(),
            "said": said,
        }


def majority(votes: Sequence[int]) -> int:
    """The commonest vote; 0, a tie, where two are as common."""
    (first, most), *others = Counter(votes).most_common()
    return 0 if others and others[0][1] == most else first
