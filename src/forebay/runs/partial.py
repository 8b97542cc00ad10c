"""The files beside the output while a run is under way: the rows so far, and the lock that keeps a second run away."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from forebay.domain.errors import ConfigurationError, ForebayError
from forebay.runs.rows import Members, encode


def partial_path(output: Path) -> Path:
    """Where rows stand, in order of completion, until the output is whole."""
    return output.with_name(output.name + ".partial.jsonl")


def errors_path(output: Path) -> Path:
    """Where failed records stand."""
    return output.with_name(output.name + ".errors.jsonl")


class Rows(Protocol):
    """Where rows go as they come."""

    def write(self, rows: Iterable[Members]) -> None: ...


class PartialOutput:
    """``with`` takes the output for this process (the system frees it, however the process ends) and begins anew.

    Raises: ConfigurationError: the folder can't be written; ForebayError: another run has it.
    """

    def __init__(self, output: Path) -> None:
        self._path = partial_path(output)

    def __enter__(self) -> Self:
        try:
            self._stream = self._path.open("ab")
        except OSError as exc:
            raise ConfigurationError(f"Can't write beside {str(self._path.parent)!r}: {exc.strerror}") from exc
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._stream.close()
            raise ForebayError(f"Another run is writing {self._path.name!r}; wait for it, or stop it") from exc
        os.ftruncate(self._stream.fileno(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._stream.tell():
            self.remove()  # nothing came of the run
        self._stream.close()

    def write(self, rows: Iterable[Members]) -> None:
        """Adds rows; they can be read at once."""
        self._stream.writelines(encode(row) + b"\n" for row in rows)
        self._stream.flush()

    def remove(self) -> None:
        """The output is whole: the rows so far are not needed any more."""
        self._path.unlink(missing_ok=True)


class Nowhere:
    """Takes rows and keeps none: of a run that writes nothing."""

    def write(self, rows: Iterable[Members]) -> None:
        del rows
