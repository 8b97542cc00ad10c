"""Archive: what a store's rows look like outside of any store, so that one back end's can be loaded into another.

The columns are those that both layouts have. Leases and workers are not among them: an archive is made of a store that
nobody works on. What a back end keeps in addition (labels to filter by) it derives from these when it loads them.
"""

from typing import Any, NamedTuple

from forebay.domain.record import Record

FORMAT = 1

Row = tuple[Any, ...]  # str, int, float, bool or None, as the part's columns say

_TYPES: dict[str, type] = {"text": str, "int": int, "float": float, "bool": bool}


class Part(NamedTuple):
    """One kind of row. ``columns``: name and type, of which ``key`` is the order that rows are archived in."""

    name: str
    key: tuple[str, ...]
    columns: dict[str, str]

    def types(self) -> list[type]:
        """The columns' types in Python, in their order."""
        return [_TYPES[kind] for kind in self.columns.values()]


class PartSum(Record, frozen=True, kw_only=True):
    """How much of one part an archive holds, or a store read back. ``sha256``: of its rows as lines of JSON."""

    columns: tuple[str, ...]
    rows: int
    sha256: str


class BlobSum(Record, frozen=True, kw_only=True):
    """The same of the blobs. ``sha256``: of one line ``<id> <bytes> <sha256>`` for each, in the order of their ids."""

    count: int
    bytes: int
    sha256: str


class Manifest(Record, frozen=True, kw_only=True):
    """What an archive says of itself, at its end."""

    format: int
    version: str  # of the program that wrote it
    created_at: float
    last_fence: int
    parts: dict[str, PartSum]
    blobs: BlobSum


def _part(name: str, key: str, columns: str) -> Part:
    kinds = [line.split() for line in columns.strip().splitlines()]
    named = {column: kind for kind, *names in kinds for column in names}
    return Part(name, tuple(key.split()), named)


PARTS: tuple[Part, ...] = (
    _part(
        "jobs",
        "id",
        """
        text id tenant parent_id key kind queue origin
        bool is_group
        int urgency
        float cost created_at deadline due_at rank
        text fixed
        int notices
        text progress status
        float finished_at
        text error_code error_message ending
        float started_at
        int attempts_used rescues lone_rescues join_successes join_live
        float join_until
        int taken_succeeded taken_failed taken_cancelled
        int input_tokens cached_tokens output_tokens reasoning_tokens
        float cost_usd
        bool is_collected
        """,
    ),
    _part("bodies", "job_id", "text job_id text blob_id\nint bytes"),
    _part("results", "job_id", "text job_id\nint status_code\ntext text blob_id\nint bytes\ntext request_id"),
    _part(
        "ready",
        "queue is_suspect urgency rank job_id",
        "text queue\nbool is_suspect\nint urgency\nfloat rank\ntext job_id\nfloat deadline created_at",
    ),
    _part("later", "due_at job_id", "float due_at\ntext job_id queue\nfloat created_at"),
    _part("ranks", "queue tenant", "text queue tenant\nfloat last charged"),
    _part(
        "attempts",
        "job_id number",
        """
        text job_id
        int number fence
        text target
        float started_at
        text model outcome
        float finished_at
        int status_code
        text error
        float retry_at
        text usage
        float cost_usd
        """,
    ),
    _part("chunks", "job_id number", "text job_id\nint number\ntext text"),
    _part("segments", "job_id name number", "text job_id name\nint number\ntext blob_id\nint lines bytes"),
    _part("blob_refs", "owner role blob_id", "text owner role blob_id"),
    _part(
        "records",
        "tenant kind id",
        "text tenant kind id\nint version\ntext data\nfloat created_at expires_at\ntext blobs",
    ),
    _part("limits", "name", "text name\nfloat full_at set_at"),
    _part("budgets", "name", "text name\nfloat spent_usd"),
)
