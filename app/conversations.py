"""Conversations of the chat page as they are kept: every question with all that came of it, shown again as it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe

from pydantic import TypeAdapter

from app.database import Database
from app.experiment import Arm
from app.feedback import IndexState
from generator.answer import Answer
from indexer.errors import IndexError_
from indexer.store.changes import now
from retriever.hit import Hit

TITLE_CHARS = 80


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A question, and what came of it."""

    id: str
    question: str
    query: str | None = None  # the question in words that need no conversation, where the reader gave it
    done: bool = False
    stopped: bool = False
    text: str = ""  # what was written before it failed or was stopped; markers in it are not checked
    hits: tuple[Hit, ...] = ()  # found before it failed or was stopped; an answer has its own
    answer: Answer | None = None
    failure: tuple[str, str] | None = None  # message and remedy
    elapsed_s: float = 0.0
    index: IndexState | None = None  # what was searched
    arm: Arm | None = None  # of the experiment that ran, if one did
    filters: tuple[str, ...] = ()  # which documents were asked, as `--filter` takes it


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as the list shows it."""

    id: str
    collection: str
    title: str
    updated_at: str  # ISO 8601, UTC


_RECORD = TypeAdapter(TurnRecord)


class Conversations:
    """The conversations of one owner in one home. Safe to share between threads. Every method raises IndexError_ where
    the store cannot be read or written."""

    def __init__(self, database: Database, owner: str = "") -> None:
        """Those of one caller, by its id; of whoever owns the machine where nobody signs in."""
        self._database, self._owner = database, owner

    def begin(self, collection: str, question: str) -> Conversation:
        """Make a conversation that is called by its first question; its id cannot be guessed."""
        line = " ".join(question.split())
        title = line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1] + "…"
        made = Conversation(token_urlsafe(16), collection, title, now())
        with self._database.connected() as db:
            db.execute(
                "INSERT INTO conversation (id, collection, title, created_at, updated_at, owner)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (made.id, collection, title, made.updated_at, made.updated_at, self._owner),
            )
        return made

    def ask(
        self, conversation_id: str, question: str, query: str | None = None, filters: Sequence[str] = ()
    ) -> TurnRecord:
        """Put a question at the end of a conversation."""
        return self._add(conversation_id, TurnRecord(token_urlsafe(16), question, query, filters=tuple(filters)))

    def ask_again(self, conversation_id: str, turn_id: str) -> TurnRecord:
        """Put a question in its own place once more. What came of it before is kept for the thumbs on it."""
        before = next((turn for turn in self.turns(conversation_id) if turn.id == turn_id), None)
        if before is None:
            raise _gone()
        again = TurnRecord(token_urlsafe(16), before.question, before.query, filters=before.filters)
        return self._add(conversation_id, again, turn_id)

    def save(self, record: TurnRecord) -> None:
        """Keep what came of a question; nothing, where its conversation was deleted meanwhile."""
        with self._database.connected() as db:
            db.execute(
                f"UPDATE turn SET record = ? WHERE id = ? AND conversation IN ({_OWN})",
                (_json(record), record.id, self._owner),
            )

    def find(self, conversation_id: str) -> Conversation | None:
        """One conversation, or None where it was deleted or never was."""
        with self._database.connected() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM conversation WHERE id = ? AND owner = ?", (conversation_id, self._owner)
            ).fetchone()
        return Conversation(*row) if row else None

    def turns(self, conversation_id: str) -> tuple[TurnRecord, ...]:
        """What was asked in a conversation, oldest first."""
        with self._database.connected() as db:
            rows = db.execute(
                f"SELECT record FROM turn WHERE conversation = ? AND conversation IN ({_OWN}) AND NOT replaced"
                " ORDER BY number",
                (conversation_id, self._owner),
            ).fetchall()
        return tuple(_RECORD.validate_json(text) for (text,) in rows)

    def list(self, words: str = "", limit: int = 50) -> tuple[Conversation, ...]:
        """Conversations with each of these words, or of these beginnings and parts of words, somewhere in title,
        questions and answers, whatever their case; the latest first.
        """
        wanted = set(words.casefold().split())

        def holds(told: str) -> bool:
            text = told.casefold()
            return all(word in text for word in wanted)

        with self._database.connected() as db:
            db.create_function("holds", 1, holds)
            rows = db.execute(_SEARCH, {"any": not wanted, "limit": limit, "owner": self._owner}).fetchall()
        return tuple(Conversation(*row) for row in rows)

    def rename(self, conversation_id: str, title: str) -> None:
        """Call a conversation otherwise; white space alone changes nothing."""
        if title := " ".join(title.split())[:TITLE_CHARS]:
            with self._database.connected() as db:
                db.execute(
                    "UPDATE conversation SET title = ? WHERE id = ? AND owner = ?",
                    (title, conversation_id, self._owner),
                )

    def delete(self, conversation_id: str) -> None:
        """Remove a conversation, its answers and the thumbs on them; their words are gone from the file."""
        with self._database.connected() as db:
            for table in ("feedback", "exposure"):
                db.execute(
                    f"DELETE FROM {table} WHERE answer_id IN"
                    f" (SELECT id FROM turn WHERE conversation = ? AND conversation IN ({_OWN}))",
                    (conversation_id, self._owner),
                )
            db.execute("DELETE FROM conversation WHERE id = ? AND owner = ?", (conversation_id, self._owner))
        self._database.empty_log()

    def amend(self, collection: str, change: Callable[[TurnRecord], TurnRecord]) -> int:
        """Change what is kept of every question to a collection, whoever asked; gives how many changed.

        What stood there is gone from the file.
        """
        with self._database.connected() as db:
            rows = db.execute(_OF_COLLECTION, (collection,)).fetchall()
            kept = [_RECORD.validate_json(text) for (text,) in rows]
            changed = [(_json(new), new.id) for old in kept if (new := change(old)) is not old]
            db.executemany("UPDATE turn SET record = ? WHERE id = ?", changed)
        if changed:
            self._database.empty_log()
        return len(changed)

    def _add(self, conversation_id: str, record: TurnRecord, in_place_of: str = "") -> TurnRecord:
        at = now()
        with self._database.connected() as db:
            found = db.execute(
                "UPDATE conversation SET updated_at = ? WHERE id = ? AND owner = ?", (at, conversation_id, self._owner)
            )
            if not found.rowcount:
                raise _gone()
            db.execute("UPDATE turn SET replaced = 1 WHERE id = ?", (in_place_of,))
            db.execute(_ADD, (record.id, in_place_of, conversation_id, record.question, at, _json(record)))
        return record


def _json(record: TurnRecord) -> str:
    # Times and parts are read-only views of dicts, which pydantic does not know.
    return _RECORD.dump_json(record, warnings=False, fallback=dict).decode()


def _gone() -> IndexError_:
    return IndexError_("This conversation is no longer there.", "Begin a new one.")


_COLUMNS = "id, collection, title, updated_at"
_OWN = "SELECT id FROM conversation WHERE owner = ?"
_SEARCH = f"""
SELECT {_COLUMNS} FROM conversation
WHERE owner = :owner AND (:any OR holds(title || char(10) || coalesce((
    SELECT group_concat(question || char(10) || coalesce(json_extract(record, '$.answer.text'), ''), char(10))
    FROM turn WHERE conversation = conversation.id AND NOT replaced), '')))
ORDER BY updated_at DESC, rowid DESC LIMIT :limit
"""
_OF_COLLECTION = """
SELECT record FROM turn JOIN conversation ON conversation.id = turn.conversation WHERE collection = ?
"""
_ADD = """
INSERT INTO turn (id, number, conversation, question, asked_at, record) VALUES (?1, coalesce(
    (SELECT number FROM turn WHERE id = ?2), (SELECT max(number) + 1 FROM turn WHERE conversation = ?3), 1
), ?3, ?4, ?5, ?6)
"""
