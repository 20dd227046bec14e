"""What one browser tab is looking at. Everything that costs time to make is kept here, never made again by a re-run."""

from dataclasses import dataclass, field

from app.ui import asking
from app.ui.turn import Turn, begin
from app.ui.uploads import Upload
from app.withheld import is_withheld
from generator.answer import Answer
from indexer.errors import FootnoteError
from indexer.filter import parse_filter, read_conditions
from retriever.hit import Hit


@dataclass(slots=True)
class Chat:
    """The conversation, and the source that is open beside it. `id` is empty until its first question.

    `opened` is a reference: "c.<turn>.<number>" a citation, "h.<turn>.<rank>" a passage, "d.<id>" a document.
    """

    turns: list[Turn] = field(default_factory=list)
    id: str = ""
    title: str = ""
    opened: str = ""
    whole: bool = False
    filters: str = ""  # which documents the next question is asked of, as it was typed
    judged: str = ""  # id of the turn that got a thumb, while the reader is asked for the reason

    @property
    def working(self) -> Turn | None:
        """The turn that is being answered or is next in line."""
        return next((turn for turn in self.turns if not turn.done), None)

    def history(self, before: Turn) -> tuple[tuple[str, str], ...]:
        """Questions and answers before a turn, oldest first; what failed or was stopped is left out."""
        earlier = self.turns[: self.turns.index(before)]
        return tuple((turn.question, _repeatable(turn.answer)) for turn in earlier if turn.answer)

    def evidence(self, before: Turn) -> tuple[Hit, ...]:
        """The passages that the last answer before a turn rests on."""
        answers = [turn.answer for turn in self.turns[: self.turns.index(before)] if turn.answer]
        return answers[-1].evidence if answers else ()

    def open(self, reference: str) -> None:
        self.opened = "" if reference == self.opened else reference
        self.whole = reference.startswith("d.")

    def close(self) -> None:
        self.opened = ""


def _repeatable(answer: Answer) -> str:
    """What of an answer a follow-up may rest on: nothing, where it was written from a document that is gone."""
    return "" if any(map(is_withheld, answer.citations)) else answer.text


@dataclass(slots=True)
class Session:
    collection: str = ""
    chat: Chat = field(default_factory=Chat)
    failure: FootnoteError | None = None  # of the last click; shown once
    upload: Upload | None = None
    uploads: int = 0  # finished so far; a fresh number empties the upload field


def ask(session: Session, question: str, query: str | None = None) -> None:
    """Put a question at the end of the conversation, which begins with its first one."""
    chat = session.chat
    chat.close()  # on a phone it would lie over the answer
    question = question.encode("utf-8", "replace").decode()  # halves of a character cannot be stored
    kept = asking.conversations()
    try:
        filters = read_conditions(chat.filters)
        parse_filter(filters)  # what is wrong there must not become a question of all documents
        if not chat.id:
            made = kept.begin(session.collection, question)
            chat.id, chat.title = made.id, made.title
        chat.turns.append(begin(kept.ask(chat.id, question, query, filters)))
    except FootnoteError as error:
        session.failure = error


def ask_again(session: Session, index: int) -> None:
    """Have one question answered anew, in its place."""
    chat = session.chat
    chat.close()
    try:
        chat.turns[index] = begin(asking.conversations().ask_again(chat.id, chat.turns[index].id))
    except FootnoteError as error:
        session.failure = error
