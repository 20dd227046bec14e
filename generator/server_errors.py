"""What went wrong with a model server, in words: what its client library raises becomes a ModelError."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from indexer.errors import ModelError

if TYPE_CHECKING:
    from generator.server import ServerSettings


@contextmanager
def model_errors(server: "ServerSettings") -> Iterator[None]:
    """Turn what the client library raises into ModelErrors."""
    import openai

    try:
        yield
    except openai.OpenAIError as error:
        raise _explained(error, server) from error
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise no_chat_completion(server.base_url) from error
    except Exception as error:
        if not type(error).__module__.startswith("http"):  # httpx raises unwrapped while a stream is being read
            raise
        raise ModelError(
            f"The connection to the model server at {server.base_url} broke: {error}",
            "Ask again; if it happens again, look at the server's log.",
        ) from error


def no_chat_completion(base_url: str) -> ModelError:
    """The error for a server that answered with something else."""
    return ModelError(
        f"What answers at {base_url} does not speak the OpenAI protocol.",
        "Correct generator.base_url: it ends in /v1 on most servers.",
    )


def _explained(error: Exception, server: "ServerSettings") -> ModelError:
    import openai

    where = server.base_url
    said = _said(error)
    if isinstance(error, openai.APITimeoutError):
        return ModelError(
            f"The model server at {where} did not answer in {server.read_timeout_s:g} s.",
            "It may be loading its model or overloaded: wait, or raise the timeout.",
        )
    if isinstance(error, openai.APIConnectionError):
        return ModelError(
            f"No model server answers at {where}.",
            "Start it (`footnote serve-model` serves one), correct generator.base_url, or unset it to use the "
            "embedded reader. `footnote doctor` checks it.",
        )
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return ModelError(f"The model server at {where} refuses the key: {said}", "Set generator.api_key.")
    if isinstance(error, openai.NotFoundError):
        model = server.model
        what = f"has no model {model}" if model else "has no chat completions there"
        return ModelError(
            f"The server at {where} {what}: {said}",
            "Correct generator.model (empty takes the first one listed) and generator.base_url (it ends in /v1).",
        )
    if isinstance(error, openai.APIStatusError):
        wait = error.response.headers.get("retry-after", "")
        return _refused(error.status_code, where, f"{said} (it asks to wait {wait} s)" if wait.isdigit() else said)
    if isinstance(error, openai.APIResponseValidationError):
        return no_chat_completion(where)
    return ModelError(f"The model server at {where} failed: {said}", "Look at the server's log.")


def _refused(status: int, where: str, said: str) -> ModelError:
    if status in (400, 413, 422) and any(
        word in said.lower() for word in ("context", "too long", "maximum", "max_tokens")
    ):
        return ModelError(
            f"The prompt is too long for the model at {where}: {said}",
            "Ask a shorter question, give fewer passages, or serve the model with a longer context.",
        )
    if status == 429:
        return ModelError(f"The model server at {where} has too much to do: {said}", "Wait a moment and ask again.")
    remedy = "Wait a moment and ask again; look at the server's log." if status >= 500 else "Look at the server's log."
    return ModelError(f"The model server at {where} answered {status}: {said}", remedy)


def _said(error: Exception) -> str:
    """The server's own words, on one line and not too many."""
    body = getattr(error, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    text = " ".join(str(told or getattr(error, "message", error)).split())
    return text if len(text) <= 300 else text[:300] + "…"
