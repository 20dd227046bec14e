"""What every command does around its work: settings, logging, and errors as two lines and an exit code."""

import atexit
import contextlib
import errno
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from indexer.errors import ConfigError, FootnoteError

if TYPE_CHECKING:
    from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was said before the command: `footnote --config FILE --debug COMMAND`."""

    config: Path | None = None
    debug: bool = False


@contextlib.contextmanager
def opened(context: typer.Context, as_json: bool = False) -> Iterator["Settings"]:
    """Load the settings for one command, and turn what goes wrong in it into two lines and exit code 1.

    With `as_json`, stdout gets the same two lines as {"error": {"message", "remedy"}}: always one document.
    """
    invocation = context.obj or Invocation()
    configure_logging(invocation.debug)
    try:
        from app.settings import load_settings

        yield load_settings(invocation.config)
        sys.stdout.flush()
    except FootnoteError as error:
        if invocation.debug:
            traceback.print_exc()
        raise refused(error.message, error.remedy, as_json) from None
    except (typer.Exit, typer.BadParameter):
        raise
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        raise typer.Exit(130) from None
    except Exception as error:
        if invocation.debug:
            raise
        raise _unexpected(error, as_json) from None


def leave(code: int = 0) -> NoReturn:
    """End this process at once, after what was registered for its end.

    Python would first look through every object there is, and free each: with models loaded that is seconds, and half a
    minute on a busy machine. A thread that still works ends here, as it would by a kill.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def refused(message: str, remedy: str, as_json: bool) -> typer.Exit:
    """Report an error at the right places; gives the exit to raise."""
    sys.stderr.write(plain(f"Error: {message}\n{remedy}".rstrip()) + "\n")
    if as_json:
        emit({"error": {"message": message, "remedy": remedy}})
    return typer.Exit(1)


def _unexpected(error: Exception, as_json: bool) -> typer.Exit:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return refused("The disk is full.", "Free some space and run this again; what was committed is safe.", as_json)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    with tempfile.NamedTemporaryFile("w", prefix=f"footnote-{stamp}-", suffix=".log", delete=False) as log:
        traceback.print_exc(file=log)
    message = f"This should not have happened: {type(error).__name__}: {error}"
    return refused(message, f"Details are in {log.name}; `footnote --debug COMMAND` shows them here.", as_json)


def configure_logging(debug: bool) -> None:
    """Send our own log to stderr: warnings, or everything with --debug."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    if not debug:
        # A library's word to its own developers. Ours are shown by the tests.
        warnings.filterwarnings("ignore", category=FutureWarning)
    else:
        for room in ("app", "eval", "generator", "retriever", "indexer"):
            logging.getLogger(room).setLevel(logging.DEBUG)


def unwritable(path: Path, error: OSError) -> ConfigError:
    """What to say of a file that a user named and that cannot be written."""
    return ConfigError(f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours.")


def emit(value: Any) -> None:
    """Print the one JSON document of a command."""
    # A file name that is no UTF-8 comes as lone surrogates: as escapes they are valid JSON.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def plain(text: str) -> str:
    """Make text from a document, a file name or a model safe to print: no terminal control codes."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
