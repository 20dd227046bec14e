"""What one browser tab is looking at. Everything that costs time to make is kept here, never made again by a re-run."""

from dataclasses import dataclass, field

from app.ui.turn import Turn
from app.ui.uploads import Upload
from retriever.hit import Hit


@dataclass(slots=True)
class Chat:
    """The conversation about one collection, and the source that is open beside it.

    `opened` is a reference: "c.<turn>.<number>" a citation, "h.<turn>.<rank>" a passage, "d.<id>" a document.
    """

    turns: list[Turn] = field(default_factory=list)
    opened: str = ""
    whole: bool = False

    @property
    def working(self) -> Turn | None:
        """The turn that is being answered or is next in line."""
        return next((turn for turn in self.turns if not turn.done), None)

    def history(self, before: Turn) -> tuple[tuple[str, str], ...]:
        """Questions and answers before a turn, oldest first; what failed or was stopped is left out."""
        earlier = self.turns[: self.turns.index(before)]
        return tuple((turn.question, turn.answer.text) for turn in earlier if turn.answer)

    def evidence(self, before: Turn) -> tuple[Hit, ...]:
        """The passages that the last answer before a turn rests on."""
        answers = [turn.answer for turn in self.turns[: self.turns.index(before)] if turn.answer]
        return answers[-1].evidence if answers else ()

    def open(self, reference: str) -> None:
        self.opened = "" if reference == self.opened else reference
        self.whole = reference.startswith("d.")

    def close(self) -> None:
        self.opened = ""


@dataclass(slots=True)
class Session:
    collection: str = ""
    chats: dict[str, Chat] = field(default_factory=dict)
    upload: Upload | None = None
    uploads: int = 0  # finished so far; a fresh number empties the upload field

    @property
    def chat(self) -> Chat:
        return self.chats.setdefault(self.collection, Chat())
