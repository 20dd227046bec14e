"""What was asked of a collection: questions of conversations and of judged answers, and those of a file."""

from pathlib import Path

from app.database import Database
from app.judged import judged_answers
from indexer.errors import ConfigError


def asked_questions(database: Database, collection: str, limit: int) -> list[str]:
    """The newest questions that somebody asked, each once."""
    with database.connected() as db:
        rows = db.execute(
            "SELECT question FROM turn JOIN conversation c ON c.id = turn.conversation"
            " WHERE c.collection = ? AND NOT replaced ORDER BY asked_at DESC",
            (collection,),
        ).fetchall()
    judged = [one.query for one in judged_answers(database, collection=collection)]
    return list(dict.fromkeys([*(question for (question,) in rows), *judged]))[:limit]


def read_questions(path: Path, limit: int) -> list[str]:
    """The first questions of a text file, one a line.

    Raises:
        ConfigError: the file cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", "Name a text file with a question on each line."
        ) from error
    questions = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not questions:
        raise ConfigError(f"{path} holds no question", "Write one on each line.")
    return questions[:limit]
