"""The port to the data of steps that ask models: their records, calls, answers, and what was paid for before."""

from collections.abc import Mapping
from typing import Any, Protocol

from forebay.domain.asking import Form, Planned
from forebay.domain.content import BlobInfo
from forebay.domain.fanout import How
from forebay.domain.pipeline import StepOutput, TableRef
from forebay.domain.record import Record
from forebay.policy.expectation import Estimating
from forebay.policy.steps.asking import Asked


class Span(Record, frozen=True, kw_only=True):
    """Which of a plan's records are asked now: those from ``start`` on, in order, as many as fit. ``again``: blobs of
    failures; those among them that are to be asked once more are meant, and each alone.
    """

    planned: Planned
    start: int = 0
    most_lines: int
    most_bytes: int
    again: tuple[str, ...] = ()


class Calls(Record, frozen=True, kw_only=True):
    """The input of a batch: OpenAI's lines, with ``keys`` where a line asks of several records."""

    blob: BlobInfo
    lines: int
    records: int


class BatchLines(Record, frozen=True, kw_only=True):
    """Where the answers of a batch stand: its segments, and lines that are in none."""

    form: Form
    schema: Any = None  # of one record's output
    how: How | None = None
    input_blob_id: str
    segments: tuple[str, ...] = ()
    ledgers: tuple[str, ...] = ()
    lines: tuple[bytes, ...] = ()
    now: float


class Answers(Record, frozen=True, kw_only=True):
    """What a batch brought: blobs of answers and failures, None where there is none. ``codes`` counts failures that
    are final, ``again`` those that are to be asked once more.
    """

    table: str | None = None
    failures: BlobInfo | None = None
    answered: int = 0
    failed: int = 0
    again: int = 0
    calls: int = 0  # that the ledgers have
    codes: dict[str, int] = {}


class Gathering(Record, frozen=True, kw_only=True):
    """What becomes one output. ``since``: answers before it don't count. ``schema``: of one record's output."""

    table: TableRef
    planned: Planned
    paid: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    since: float = 0.0
    schema: Any = None
    has_branches: bool = False
    is_vector: bool = False
    is_once: bool = False


class RequestTables(Protocol):
    """Flat in memory. Blobs that it writes are durable, and without a reference until a record or answer names them.

    Raises, all of them: NotFound: a blob is gone, what named it is to be read again.
    """

    async def of_scope(self, inputs: Mapping[str, StepOutput]) -> TableRef:
        """A table of one record: each input under its name, a table as a JSON array of its first rows."""
        ...

    async def plan(self, asked: Asked, table: TableRef, paid: tuple[str, ...], since: float = 0.0) -> Planned:
        """Renders every record, and says which are paid; answers before ``since`` don't count.

        Raises: RequestError: a column is missing from them all.
        """
        ...

    async def calls(self, asked: Asked, table: TableRef, span: Span) -> Calls:
        """Writes the next part of a plan's requests."""
        ...

    async def estimate(self, asked: Asked, table: TableRef, planned: Planned, estimating: Estimating) -> None:
        """Adds every pending request."""
        ...

    async def answers(self, lines: BatchLines) -> Answers:
        """Reads what a batch brought."""
        ...

    async def shared(self, planned: Planned, input_blob_id: str) -> int:
        """How many of a plan's pending records a batch asks of."""
        ...

    async def gather(self, gathering: Gathering) -> StepOutput:
        """Joins records and answers in the order of the input; the others are rejected."""
        ...

    async def keep(self, planned: Planned, paid: tuple[str, ...], now: float, unused_seconds: float) -> str | None:
        """Makes one table of the paid answers, without those that no run has used for so long; its blob. None: they are
        as they should be.
        """
        ...
