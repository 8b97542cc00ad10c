"""Content: a body, small in its row or large in a blob; and the segments that a growing output is made of."""

from forebay.domain.record import Record

INLINE_LIMIT_BYTES = 64 * 1024  # larger bodies are blobs


class Content(Record, frozen=True, kw_only=True):
    """JSON text that stands in the row (``text``), or in a blob (``blob_id``): exactly one of the two is set."""

    text: str | None = None
    blob_id: str | None = None
    bytes: int = 0  # of the blob


class Segment(Record, frozen=True, kw_only=True):
    """A piece of an append-only output: an immutable blob, numbered by the store in the order of its commits."""

    name: str  # the stream it belongs to: `output`, `errors`, `ledger`
    blob_id: str
    lines: int
    bytes: int
    number: int = 0  # 0, 1, …: given by the store


class Chunk(Record, frozen=True, kw_only=True):
    """A piece of a job's stream, numbered in order, durable before anyone is sent it."""

    number: int
    text: str


class BlobInfo(Record, frozen=True, kw_only=True):
    """A stored blob."""

    id: str
    bytes: int
    sha256: str
    written_at: float = 0.0
