"""Blobs as files of one folder on one machine. ``app.open_system`` opens it; engine and API read and write through it.

Layout: ``store-id``; ``incoming/<id>`` while a blob is being written; ``<last two characters of the id>/<id>`` after.
A file's time of change is the time it was written, by the store's clock.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from forebay.blobs.gathering import gathered
from forebay.blobs.incoming import Incoming, clean, make_folder, sync_folder
from forebay.blobs.names import FAN_OUT_CHARACTERS, is_blob_id, place_of
from forebay.domain.errors import ConfigurationError, NotFound, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import BlobInfo, Clock

READ_BYTES = 512 * 1024

_INCOMING = "incoming"
_STORE_ID = "store-id"


async def open_blobs(folder: Path, *, clock: Clock, ids: IdSource) -> "FileBlobs":
    """Opens the folder; makes it, and gives it its id, if it is new.

    Raises: ConfigurationError: the folder can't be used.
    """
    try:
        store_id = await asyncio.to_thread(_prepare, folder, ids.new("blobs"))
    except OSError as exc:
        raise ConfigurationError(
            f"Blobs can't be kept in {str(folder)!r} ({exc.strerror}): name a writable folder as `blobs`"
        ) from exc
    return FileBlobs(folder, store_id, clock=clock, ids=ids)


class FileBlobs:
    """A BlobStore over a folder. Several processes of one machine may share it."""

    def __init__(self, folder: Path, store_id: str, *, clock: Clock, ids: IdSource) -> None:
        self._folder = folder
        self._store_id = store_id
        self._clock = clock
        self._ids = ids

    @property
    def store_id(self) -> str:
        return self._store_id

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """See BlobStore. Raises: StoreUnavailable: the disk is full or failed; nothing was kept."""
        blob_id = self._ids.new("blob")
        incoming = Incoming(self._folder / _INCOMING / blob_id)
        try:
            async for piece in gathered(chunks):
                await _stored(incoming.write, piece)
            written_at = self._clock.now()  # at the end: an upload of hours must not look old to the sweep
            await _stored(incoming.keep, self._path(blob_id), written_at)
        finally:
            incoming.discard()  # not in a thread: it must happen under cancellation too, and it is short
        return BlobInfo(id=blob_id, bytes=incoming.bytes, sha256=incoming.sha256, written_at=written_at)

    async def read(self, blob_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        file = await _opened(self._path(blob_id), start)
        try:
            left = None if end is None else end - start
            while left is None or left > 0:
                piece = await asyncio.to_thread(_piece, file, READ_BYTES if left is None else min(left, READ_BYTES))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece
        finally:
            file.close()

    async def size(self, blob_id: str) -> int:
        return await asyncio.to_thread(_size, self._path(blob_id))

    def local_path(self, blob_id: str) -> Path | None:
        return self._path(blob_id)

    async def delete(self, blob_ids: Sequence[str]) -> None:
        paths = [self._path(blob_id) for blob_id in blob_ids if is_blob_id(blob_id)]
        await asyncio.to_thread(_unlink, paths)

    async def older_than(self, written_before: float) -> AsyncIterator[str]:
        """See BlobStore. Deletes what interrupted writes left behind from before then, too."""
        await asyncio.to_thread(clean, self._folder / _INCOMING, written_before)
        for folder in await asyncio.to_thread(_fan_out, self._folder):
            for blob_id in await asyncio.to_thread(_older_than, folder, written_before):
                yield blob_id

    def _path(self, blob_id: str) -> Path:
        return self._folder / place_of(blob_id)


def _prepare(folder: Path, new_id: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    make_folder(folder / _INCOMING)
    final = folder / _STORE_ID
    if not final.exists():
        draft = folder / f"{_STORE_ID}.{new_id}"
        with draft.open("w") as file:
            file.write(new_id)
            file.flush()
            os.fsync(file.fileno())
        try:
            final.hardlink_to(draft)  # whole, and by one of the processes that open a new folder together
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_folder(folder)
    return final.read_text().strip()


async def _stored(step: Callable[..., None], *args: object) -> None:
    try:
        await asyncio.to_thread(step, *args)
    except OSError as exc:
        raise StoreUnavailable(f"The blob could not be written: {exc}") from exc


async def _opened(path: Path, start: int) -> BinaryIO:
    """Opens it in a thread. A reader that is cancelled meanwhile leaves nothing open."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, path, start))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: "asyncio.Future[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(path: Path, start: int) -> BinaryIO:
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError as exc:
        raise NotFound(f"There is no blob {path.name!r}") from exc
    except OSError as exc:
        raise StoreUnavailable(f"The blob {path.name!r} can't be read now: {exc}") from exc
    file.seek(start)
    return file


def _piece(file: BinaryIO, most: int) -> bytes:
    try:
        return file.read(most)
    except OSError as exc:
        raise StoreUnavailable(f"A blob can't be read now: {exc}") from exc


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as exc:
        raise NotFound(f"There is no blob {path.name!r}") from exc


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _fan_out(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if len(path.name) == FAN_OUT_CHARACTERS and path.is_dir())


def _older_than(folder: Path, written_before: float) -> list[str]:
    found = []
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < written_before:
                found.append(path.name)
        except FileNotFoundError:
            continue  # deleted by another process's sweep
    return sorted(found)
