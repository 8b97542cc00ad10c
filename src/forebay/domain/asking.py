"""Asking: the cursor of a job of kind ``inference``, and what is remembered of its answers from run to run."""

from enum import StrEnum

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.record import Record

PAID = "step_paid"  # the kind of the records of paid answers: `<pipeline>/<step>`
PLAN = "plan"  # streams of segments of an inference's job
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
    inference's job, may have died between the two.
    """

    batch_id: str
    owner: str
    input_blob_id: str
    form: Form


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
    entered: int
    refused: int  # records that can't be asked
    paid: int  # records with an answer
    pending: int


class Asking(Record, frozen=True, kw_only=True):
    """``progress`` of an inference. ``sent``: how many of the pending were asked; ``batch_id``: whose answers are
    awaited; ``again``: the blob with the keys that are asked once more, alone.
    """

    version: int = 1
    phase: Phase = Phase.PREPARE
    table: str = ""  # the one-row table of an `infer_once`, TableRef as JSON
    planned: Planned | None = None
    sent: int = 0
    batch_id: str | None = None
    batch_form: Form = Form.ALONE
    parts: int = 0  # batches made
    is_again: bool = False
    answered: int = 0
    failed: int = 0
    again: int = 0  # keys to be asked once more
    asked_again: int = 0
    calls: int = 0
    usage: Usage | None = None
    cost_usd: float | None = None
    is_over_budget: bool = False


_CURSOR = msgspec.json.Decoder(Asking)
_PAID = msgspec.json.Decoder(PaidMemory)


def asking_of(progress: str | None) -> Asking:
    """Reads an inference's progress; a new one has none."""
    return _CURSOR.decode(progress) if progress else Asking()


def paid_memory(data: str) -> PaidMemory:
    """Reads the data of the record of paid answers."""
    return _PAID.decode(data)
