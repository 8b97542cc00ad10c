"""``import_store``: an archive into an empty store, all of it or nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from forebay.domain.archive import PARTS, BlobSum, Manifest, Part, PartSum, Row
from forebay.domain.errors import NotFound, StoreDamaged, StoreRefused
from forebay.domain.ids import IdSource
from forebay.ports import Archive, BlobStore
from forebay.transfer.checking import blob_of, check_archive, part_of
from forebay.transfer.place import TransferPlace, refuse_if_worked_on
from forebay.transfer.sums import BlobCount, PartCount, digest_of, lines_of
from forebay.transfer.unpacking import Entry, entries

ROWS = 256  # at once


class _GivenIds(IdSource):
    """Lets a blob be written under the id that it has: rows, and texts in rows, refer to it."""

    blob_id = ""

    def new(self, prefix: str) -> str:
        return self.blob_id if prefix == "blob" else super().new(prefix)


async def import_store(place: TransferPlace, path: Path) -> Manifest:
    """Checks the archive, loads it in one transaction, and reads everything back before that commits. Blobs that an
    interrupted import left are written anew by the next one.

    Returns: what the store holds now, counted and hashed as it was read back.

    Raises: ConfigurationError: the archive is not whole. StoreRefused: the store is not empty, or someone works on it.
    StoreDamaged: it does not read back what was loaded. StoreUnavailable. Whatever is raised, the store is empty still.
    """
    manifest = check_archive(path)
    async with place.hold() as archive:
        await _refuse_unless_empty(place, archive)  # before anything is swept: what is refused stays as it is
    await refuse_if_worked_on(place)
    async with place.hold(is_writing=True) as archive:
        await _refuse_unless_empty(place, archive)
        loaded = await _load(place, archive, path)
        await archive.raise_fence(manifest.last_fence)
        parts = {part.name: await _sum_rows(archive, part) for part in PARTS}
        blobs = await _sum_blobs(archive, place.blobs)
        _compare(loaded, parts)
        if blobs != manifest.blobs:
            raise StoreDamaged(f"{place.shown} keeps {blobs.count} blobs, {blobs.bytes} bytes, unlike the archive's")
    return msgspec.structs.replace(manifest, parts=parts, blobs=blobs)


async def _refuse_unless_empty(place: TransferPlace, archive: Archive) -> None:
    for part in PARTS:
        async for _ in archive.rows(part):
            raise StoreRefused(
                f"{place.shown} is not empty ({part.name}): an archive is imported into a new store; name another "
                "file, or another schema or database"
            )


async def _load(place: TransferPlace, archive: Archive, path: Path) -> dict[str, PartSum]:
    """Returns what was loaded, as the store keeps it."""
    counts = {part.name: PartCount(part) for part in PARTS}
    ids = _GivenIds()
    blobs = await place.reopen_blobs(ids)
    for entry in entries(path):
        if (part := part_of(entry)) is not None:
            await _load_rows(archive, part, entry, counts[part.name])
        elif (blob_id := blob_of(entry)) is not None:
            ids.blob_id = blob_id
            await blobs.delete([blob_id])
            await blobs.write(_pieces(entry))
    return {name: count.sum() for name, count in counts.items()}


async def _load_rows(archive: Archive, part: Part, entry: Entry, count: PartCount) -> None:
    decoder = msgspec.json.Decoder(tuple[tuple(kind | None for kind in part.types())])  # type: ignore[misc]
    lines = entry.whole().splitlines()
    for start in range(0, len(lines), ROWS):
        rows: list[Row] = [decoder.decode(line) for line in lines[start : start + ROWS]]
        kept = await archive.load(part, rows)
        count.add(len(kept), lines_of(kept))


async def _sum_rows(archive: Archive, part: Part) -> PartSum:
    count = PartCount(part)
    async for rows in archive.rows(part):
        count.add(len(rows), lines_of(rows))
    return count.sum()


async def _sum_blobs(archive: Archive, blobs: BlobStore) -> BlobSum:
    count = BlobCount()
    async for blob_ids in archive.blob_ids():
        for blob_id in blob_ids:
            try:
                count.add(blob_id, *await digest_of(blobs.read(blob_id)))
            except NotFound as exc:
                raise StoreDamaged(f"the blob {blob_id!r} is not there after it was written") from exc
    return count.sum()


def _compare(loaded: dict[str, PartSum], parts: dict[str, PartSum]) -> None:
    for name, found in parts.items():
        if found != loaded[name]:
            raise StoreDamaged(f"{name}: {loaded[name].rows} rows were loaded, and {found.rows} others are read back")


async def _pieces(entry: Entry) -> AsyncIterator[bytes]:
    for piece in entry.pieces():
        yield piece
