"""``export_store``: an archive of everything that a stopped installation keeps.

Entries, in this order: ``forebay-archive.json`` (program and format), ``rows/<part>/<n>.ndjson`` (one JSON array a
line, columns as in the manifest), ``blobs/<n>/<id>``, ``manifest.json``, ``manifest.sha256``.
"""

import hashlib
from pathlib import Path

import msgspec

from forebay.domain.archive import FORMAT, PARTS, BlobSum, Manifest, Part, PartSum
from forebay.domain.errors import NotFound, StoreDamaged, StoreRefused
from forebay.ports import Archive, BlobStore
from forebay.transfer.packing import FIRST, MANIFEST, MANIFEST_SUM, Packer, packing
from forebay.transfer.place import TransferPlace, refuse_if_worked_on
from forebay.transfer.sums import BlobCount, PartCount, lines_of

PROGRAM = "forebay"
PAGE_BYTES = 4 * 1024 * 1024  # of one entry of rows
BLOBS_IN_FOLDER = 1000


async def export_store(place: TransferPlace, path: Path, *, version: str, now: float) -> Manifest:
    """Writes the archive; the store stays as it is, but that leases of dead workers were taken back.

    Raises: StoreRefused: someone works on the store. ConfigurationError: ``path`` exists. StoreUnavailable.
    """
    await refuse_if_worked_on(place)
    with packing(path) as packer:
        packer.put(FIRST, msgspec.json.encode({"program": PROGRAM, "format": FORMAT, "version": version}))
        async with place.hold() as archive:
            if leased := await archive.leased():
                raise StoreRefused(f"{leased} jobs of {place.shown} are being worked on: stop every server and worker")
            manifest = Manifest(
                format=FORMAT,
                version=version,
                created_at=now,
                last_fence=await archive.last_fence(),
                parts={part.name: await _pack_rows(packer, archive, part) for part in PARTS},
                blobs=await _pack_blobs(packer, archive, place.blobs),
            )
        text = msgspec.json.format(msgspec.json.encode(manifest))
        packer.put(MANIFEST, text)
        packer.put(MANIFEST_SUM, f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode())
    return manifest


async def _pack_rows(packer: Packer, archive: Archive, part: Part) -> PartSum:
    count = PartCount(part)
    waiting: list[bytes] = []
    waiting_bytes = entries = 0

    def pack() -> None:
        packer.put(f"rows/{part.name}/{entries:09}.ndjson", b"".join(waiting))

    async for rows in archive.rows(part):
        lines = lines_of(rows)
        count.add(len(rows), lines)
        waiting.append(lines)
        waiting_bytes += len(lines)
        if waiting_bytes >= PAGE_BYTES:
            pack()
            waiting, waiting_bytes, entries = [], 0, entries + 1
    if waiting:
        pack()
    return count.sum()


async def _pack_blobs(packer: Packer, archive: Archive, blobs: BlobStore) -> BlobSum:
    count = BlobCount()
    packed = 0
    async for blob_ids in archive.blob_ids():
        for blob_id in blob_ids:
            await _pack_blob(packer, blobs, f"blobs/{packed // BLOBS_IN_FOLDER:09}/{blob_id}", count)
            packed += 1
    return count.sum()


async def _pack_blob(packer: Packer, blobs: BlobStore, name: str, count: BlobCount) -> None:
    blob_id = Path(name).name
    digest = hashlib.sha256()
    written = 0
    try:
        size = await blobs.size(blob_id)
        packer.begin(name, size)
        async for piece in blobs.read(blob_id):
            packer.write(piece)
            digest.update(piece)
            written += len(piece)
    except NotFound as exc:
        raise StoreDamaged(f"the blob {blob_id!r}, to which the store refers, is not in `blobs:`") from exc
    if written != size:
        raise StoreDamaged(f"the blob {blob_id!r} has {written} bytes instead of {size}")
    count.add(blob_id, size, digest.hexdigest())
