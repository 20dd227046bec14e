"""Between OpenAI's messages and the pipeline's turns."""

import re
from collections.abc import Sequence

from app.api.errors import ApiError
from app.api.protocol import ChatMessage, ChatRequest, extras
from app.markdown import without_doubts
from generator.prompt import Turn

_FOOTNOTES = re.compile(r"^\[\^\d+\]: .*$\n?", re.MULTILINE)
# What would make the answer another one than was asked for; None and these values ask for nothing.
_UNABLE = {"n": (1,), "tools": ([],), "functions": ([],), "logprobs": (False,), "response_format": ({"type": "text"},)}


def check_able(request: ChatRequest) -> list[str]:
    """Names of what the request asks for and does not get, such as a temperature.

    Raises:
        ApiError: it asks for another kind of answer than there is (400).
    """
    asked = extras(request)
    for name, harmless in _UNABLE.items():
        if name in asked and asked[name] not in harmless:
            raise ApiError(400, f"Footnote cannot do what '{name}' asks for.", param=name, code="unsupported")
    system = [message.role for message in request.messages if message.role in ("system", "developer")]
    return sorted({*asked, *(f"messages: {role}" for role in system)} - set(_UNABLE))


def unit_of(request: ChatRequest, key_id: str) -> str:
    """What an arm of an experiment is drawn for: the conversation, where the request names it; else its user; else the
    first question, which comes along with all that follow it."""
    first = next((message.text() for message in request.messages if message.role == "user"), "")
    if request.footnote.conversation:
        return f"{key_id} conversation {request.footnote.conversation}"
    return f"{key_id} user {request.user}" if request.user else f"{key_id} question {first}"


def question_and_turns(messages: Sequence[ChatMessage]) -> tuple[str, tuple[Turn, ...]]:
    """The last message, and the questions before it with their answers; a question without one is left out.

    Raises:
        ApiError: the last message is not the user's (400).
    """
    *before, last = messages
    if last.role != "user":
        raise ApiError(400, "The last message must be the user's.", param="messages", code="invalid")
    turns: list[Turn] = []
    question = ""
    for message in before:
        if message.role == "user":
            question = message.text()
        elif message.role == "assistant" and question:
            turns.append((question, without_doubts(_FOOTNOTES.sub("", message.text())).rstrip()))
            question = ""
    return last.text(), tuple(turns)
