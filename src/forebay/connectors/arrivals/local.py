"""Files that appear in folders of this machine, with the operating system's notifications where it gives any."""

import asyncio
import glob
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import structlog
from watchfiles import watch

from forebay.domain.arrival import Arrival
from forebay.domain.errors import ForebayError, RequestError
from forebay.domain.pipeline import SOURCE_FAILED
from forebay.policy.wildcards import fixed_folder, is_deep, is_wild
from forebay.threads import DaemonPool

log = structlog.get_logger(__name__)
T = TypeVar("T")
THREADS = 4
PAGE = 1000
PIECE_BYTES = 1024 * 1024
GATHERED_MS = 200  # changes within are one hint
LOOK_AGAIN_SECONDS = 5.0  # for folders that are not there yet, or are another one now


class Folders:
    """Looks into folders in threads that hold up no end of the process, where a drive does not answer."""

    def __init__(self) -> None:
        self._pool = DaemonPool(THREADS, "folders")

    async def look(self, pattern: str, folder: str) -> AsyncIterator[list[Arrival]]:
        """See Arrivals. Hidden files are named by a pattern that begins with a dot."""
        found = await self._call(lambda: _opened(pattern, folder))
        while page := await self._call(lambda: list(islice(found, PAGE))):
            yield page

    async def digest(self, arrival: Arrival) -> str | None:
        """The sha256 of its content; None: it has changed or is gone."""
        return await self._call(lambda: _digest(arrival))

    async def _call(self, work: Callable[[], T]) -> T:
        def run() -> tuple[T | None, Exception | None]:
            try:
                return work(), None
            except (ForebayError, OSError, ValueError) as error:  # the pool's calls must not raise
                return None, error

        result, error = await self._pool.run(run)
        if error is not None:
            raise error
        return cast("T", result)


async def changes(places: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
    """Hints, for as long as it is asked; a folder that comes, goes or is replaced is watched anew.

    A thread does it: to begin with a large folder takes a while.
    """
    is_recursive = any(is_deep(pattern) or pattern.endswith("/") for pattern, _ in places)
    bases = sorted({_base(pattern, folder) for pattern, folder in places})
    loop, heard, stop = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody asks
            loop.call_soon_threadsafe(heard.set)

    watching = Watching(bases=bases, is_recursive=is_recursive, stop=stop, tell=tell)
    threading.Thread(target=_watch, args=(watching,), name="file-changes", daemon=True).start()
    try:
        while True:
            await heard.wait()
            heard.clear()
            yield
    finally:
        stop.set()


class Watching(NamedTuple):
    """What a thread watches, until when, and whom it tells."""

    bases: Sequence[str]
    is_recursive: bool
    stop: threading.Event
    tell: Callable[[], None]


def _watch(watching: Watching) -> None:
    while not watching.stop.is_set():
        watched = _identities(watching.bases)
        try:
            if watched:
                _watch_these(watched, watching)
            else:
                watching.stop.wait(LOOK_AGAIN_SECONDS)
        except (OSError, RuntimeError) as error:  # the system's bound on watches, or a folder that has just gone
            log.warning("files_not_watched", folders=len(watched), reason=str(error))
            watching.stop.wait(LOOK_AGAIN_SECONDS)
        watching.tell()


def _watch_these(watched: dict[str, tuple[int, int]], watching: Watching) -> None:
    """Returns when a folder came, went or is another one."""
    for found in watch(
        *watched,
        watch_filter=None,
        debounce=GATHERED_MS,
        stop_event=watching.stop,
        rust_timeout=int(LOOK_AGAIN_SECONDS * 1000),
        yield_on_timeout=True,
        recursive=watching.is_recursive,
        ignore_permission_denied=True,
    ):
        if found:
            watching.tell()
        if _identities(watching.bases) != watched:
            return


def _opened(pattern: str, folder: str) -> Iterator[Arrival]:
    base = _base(pattern, folder)
    try:
        with os.scandir(base):
            pass
    except OSError as exc:
        what = "is not there" if isinstance(exc, FileNotFoundError) else f"can't be read: {exc.strerror or exc}"
        raise RequestError(f"The folder {base!r} {what}", code=SOURCE_FAILED) from exc
    shown_from = None if os.path.isabs(pattern) else os.path.abspath(folder)
    return (found for path in _paths(pattern, folder) if (found := _arrival(path, shown_from)) is not None)


def _paths(pattern: str, folder: str) -> Iterator[str]:
    whole = os.path.join(glob.escape(folder), pattern)
    if pattern.endswith("/") or (not is_wild(pattern) and os.path.isdir(os.path.join(folder, pattern))):
        whole = os.path.join(glob.escape(os.path.join(folder, pattern)), "**")
    return glob.iglob(whole, recursive=True)


def _arrival(path: str, shown_from: str | None) -> Arrival | None:
    try:
        found = os.stat(path)
    except OSError:  # it has just gone
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    place = os.path.abspath(path)
    shown = place if shown_from is None else os.path.relpath(place, shown_from)
    return Arrival(path=shown, place=place, bytes=found.st_size, version=str(found.st_mtime_ns))


def _digest(arrival: Arrival) -> str | None:
    hashed = hashlib.sha256()
    try:
        with Path(arrival.place).open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                hashed.update(piece)
    except OSError:
        return None
    now = _arrival(arrival.place, None)
    is_same = now is not None and (now.bytes, now.version) == (arrival.bytes, arrival.version)
    return hashed.hexdigest() if is_same else None


def _base(pattern: str, folder: str) -> str:
    """The folder that must be there."""
    below = pattern if pattern.endswith("/") else fixed_folder(pattern)
    if not below and pattern.startswith("/"):
        below = "/"
    return os.path.abspath(os.path.join(folder, below))


def _identities(folders: Sequence[str]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for folder in folders:
        try:
            status = os.stat(folder)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            found[folder] = (status.st_dev, status.st_ino)
    return found
