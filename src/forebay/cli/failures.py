"""From what went wrong to one sentence on stderr and an exit code."""

import contextlib
import sys
import traceback
from typing import Final

import typer

from forebay.domain.errors import ConfigurationError, Conflict, ForebayError, NotFound, RequestError, TooMany

DONE: Final = 0
FAILED: Final = 1  # the work failed or partly failed, not found, unreachable, a wait that ran out
WRONG_USAGE: Final = 2  # or configuration
INTERRUPTED: Final = 130
INTERRUPTION: Final = "Interrupted"


def exit_code_of(error: BaseException) -> int:
    """0 done, 1 failed, 2 wrong usage or configuration, 130 Ctrl-C."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case NotFound() | Conflict() | TooMany():
            return FAILED
        case ConfigurationError() | RequestError():
            return WRONG_USAGE
        case typer.TyperException():
            return error.exit_code
        case _:
            return FAILED


def report(error: BaseException, *, debug: bool) -> int:
    """Says what went wrong and returns the exit code."""
    if debug and not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
    say(sentence(error))
    return exit_code_of(error)


def sentence(error: BaseException) -> str:
    """One line for a person."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTION
        case typer.TyperException():
            return error.format_message()
        case ForebayError():
            return str(error)
        case OSError():
            return _of_the_system(error)
        case _:
            return f"{type(error).__name__}: {error} (--debug shows where; please report it)"


def say(text: str) -> None:
    """Writes to stderr, each line marked as ours; a closed pipe is no reason to fail."""
    with contextlib.suppress(OSError):
        sys.stderr.writelines(f"forebay: {line.strip()}\n" for line in text.splitlines() if line.strip())
        sys.stderr.flush()


def _of_the_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
