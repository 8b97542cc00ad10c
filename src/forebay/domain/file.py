"""File: the data of a stored record of kind ``file``. Its bytes are a blob, or a stream of a job's segments."""

import msgspec

from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord

FILE = "file"
BATCH_INPUT = "batch"  # purposes
BATCH_OUTPUT = "batch_output"


class FileData(Record, frozen=True, kw_only=True):
    """What a file is. Either ``blob_id`` is set, or ``job_id`` and ``stream``."""

    filename: str
    purpose: str
    bytes: int = 0  # of a stream that still grows: 0
    blob_id: str | None = None
    job_id: str | None = None
    stream: str | None = None
    content_type: str = "application/octet-stream"
    key_id: str | None = None  # the record of its idempotency key
    result_of: str | None = None  # the job whose answer names it: it is erased with that job


_DATA = msgspec.json.Decoder(FileData)


def file_data(record: StoredRecord) -> FileData:
    """Reads a file's record."""
    return _DATA.decode(record.data)


def encoded(data: FileData) -> str:
    """Writes a file's data as its record keeps it."""
    return msgspec.json.encode(data).decode()
