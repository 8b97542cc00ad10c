"""Files as one table: a record for each, with its text, or with a reference to its content in one blob for all.

A reference is `{blob_id, start, bytes, content_type, filename}`: the bytes `start` to `start + bytes` of the blob.
"""

import mimetypes
from pathlib import Path
from typing import BinaryIO

import msgspec

from forebay.connectors.digests import PIECE_BYTES
from forebay.connectors.sources.found import Found
from forebay.connectors.sources.rejects import Reject
from forebay.connectors.sources.texts import MARK, decoded
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.record import Record

LONGEST_TEXT_BYTES = 16 * 1024 * 1024  # of a document that stands in its row
COLUMNS = {
    "path": "VARCHAR",
    "name": "VARCHAR",
    "bytes": "BIGINT",
    "sha256": "VARCHAR",
    "content_type": "VARCHAR",
    "text": "VARCHAR",
}
REFERENCE = "STRUCT(start BIGINT, bytes BIGINT, content_type VARCHAR, filename VARCHAR)"
_START_BYTES = 4096  # by which a long file is told to be text or not


class Packed(Record, frozen=True, kw_only=True):
    """What was written: how many files stand in the pack, and which were left out."""

    files: int
    rejects: tuple[Reject, ...]


def write_documents(files: list[Found], target: Path, pack: Path, encoding: str, place: Workplace) -> Packed:
    """Writes a JSON object for each file, and the content of those that are no text into the pack.

    Raises: RequestError: there is no such encoding.
    """
    rejects: list[Reject] = []
    count = start = 0
    with target.open("wb") as out, pack.open("wb") as packed:
        for found in files:
            place.stopper.check()
            text = _text(found, encoding)
            row = _row(found, text)
            if text is None and _is_long_text(found, encoding):
                message = f"a text of more than {LONGEST_TEXT_BYTES} bytes; read it as `format: text`"
                rejects.append(Reject(path=found.shown, line=1, text="", message=message))
                continue
            if text is None:
                size = _append(found.path, packed, place)
                told = {"content_type": row["content_type"], "filename": row["name"]}
                row["file"] = {"start": start, "bytes": size, **told}
                start, count = start + size, count + 1
            out.write(msgspec.json.encode(row) + b"\n")
    return Packed(files=count, rejects=tuple(rejects))


def _row(found: Found, text: str | None) -> dict[str, object]:
    name = found.shown.rpartition("/")[2]
    guessed = mimetypes.guess_type(name)[0] or ("text/plain" if text is not None else "application/octet-stream")
    path = found.root or found.shown
    size = found.file.bytes
    told = {"path": path, "name": name, "bytes": size, "sha256": found.file.digest, "content_type": guessed}
    return {**told, "text": text, "file": None}


def _text(found: Found, encoding: str) -> str | None:
    if found.file.bytes > LONGEST_TEXT_BYTES:
        return None
    try:
        return decoded(found.path.read_bytes().removeprefix(MARK), encoding)
    except LookupError as exc:
        raise RequestError(f"there is no encoding {encoding!r}", param="encoding") from exc


def _is_long_text(found: Found, encoding: str) -> bool:
    """Whether a file that is too long for its row begins as text does."""
    if found.file.bytes <= LONGEST_TEXT_BYTES:
        return False
    with found.path.open("rb") as file:
        start = file.read(_START_BYTES)
    return any(decoded(start[: len(start) - cut], encoding) is not None for cut in range(4))


def _append(path: Path, packed: BinaryIO, place: Workplace) -> int:
    written = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            place.stopper.check()
            written += packed.write(piece)
    return written
