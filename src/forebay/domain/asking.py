"""Asking: the cursor of a job of kind ``inference``, and what is remembered of its answers from run to run."""

from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.fanout import How
from forebay.domain.pipeline import TableRef
from forebay.domain.record import Record

PAID = "step_paid"  # the kind of the records of paid answers: `<pipeline>/<step>`
PLAN = "plan"  # streams of segments of an inference's job
SCOPE = "scope"
FAILURES = "failures"


class Form(StrEnum):
    """What one call asks."""

    ALONE = "alone"  # one record
    TOGETHER = "together"  # several, told apart by numbers in the prompt
    VECTORS = "vectors"  # several, a list of inputs at an endpoint of embeddings
    FANOUT = "fanout"  # one record of several targets


class Phase(StrEnum):
    """Where an inference stands in its own work."""

    PREPARE = "prepare"
    ASK = "ask"
    GATHER = "gather"


class Begun(Record, frozen=True, kw_only=True):
    """A batch whose answers may not stand among the paid ones yet. Written before the batch is added: ``owner``, the
    inference's job, may have died between the two. ``schema``: of one record's output; ``how``: of a fan-out's.
    """

    batch_id: str
    owner: str
    input_blob_id: str
    form: Form
    records: int = 0
    lines: int = 0
    schema: Any = None
    how: How | None = None


class PaidMemory(Record, frozen=True, kw_only=True):
    """``data`` of the paid answers: Parquet blobs (key, output, branches, answered_at, used_at), and batches begun."""

    version: int = 1
    tables: tuple[str, ...] = ()
    begun: tuple[Begun, ...] = ()


class Planned(Record, frozen=True, kw_only=True):
    """The requests of a step, judged. ``blob_id``: Parquet (rn, key, code, message, is_paid, place), a row a record;
    ``place`` numbers those that are to be asked.
    """

    blob_id: str
    bytes: int
    entered: int
    refused: int  # records that can't be asked
    paid: int  # records with an answer
    pending: int


class Asking(Record, frozen=True, kw_only=True):
    """``progress`` of an inference. ``seen``: batches of other runs under way as it planned, which ask of none of its
    records; ``waits_for``: those that do. ``batch``: whose answers are awaited.
    """

    version: int = 1
    phase: Phase = Phase.PREPARE
    seen: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    table: TableRef | None = None
    planned: Planned | None = None
    batch: Begun | None = None
    failures_after: int = -1  # the number of the last segment of failures that is of an earlier round
    parts: int = 0  # batches made
    restarts: int = 0  # because what it had planned with was gone
    sent: int = 0  # of the pending
    answered: int = 0
    failed: int = 0
    again: int = 0  # records that are to be asked once more, alone
    sent_again: int = 0
    calls: int = 0  # this and the sums: of all rounds
    usage: Usage | None = None
    cost_usd: float | None = None
    counted_usage: Usage | None = None  # what is in the job's own sums, from an end before it was retried
    counted_usd: float = 0.0

    @property
    def is_asking_again(self) -> bool:
        """Whether every record was asked once, and what is left is asked alone."""
        return self.planned is not None and self.sent >= self.planned.pending

    @property
    def is_all_sent(self) -> bool:
        return self.is_asking_again and self.sent_again >= self.again


_CURSOR = msgspec.json.Decoder(Asking)
_PAID = msgspec.json.Decoder(PaidMemory)


def asking_of(progress: str | None) -> Asking:
    """Reads an inference's progress; a new one has none."""
    return _CURSOR.decode(progress) if progress else Asking()


def paid_memory(data: str) -> PaidMemory:
    """Reads the data of the record of paid answers."""
    return _PAID.decode(data)
