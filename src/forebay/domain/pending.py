"""What is kept of a call whose work goes on elsewhere: in the job's ``progress`` between two polls, and as a stored
record, by which the remote end is told when the job ends otherwise.
"""

import msgspec

from forebay.domain.attempt import Attempt
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord

PENDING = "pending"  # the kind of the stored record


class Submission(Record, frozen=True, kw_only=True):
    """A call that was answered with ``Pending``; its attempt stands as running in the ledger until its work ends."""

    target: str
    number: int  # of the attempt
    fence: int  # under which it was begun
    started_at: float
    model: str | None = None
    state: str
    progress: float | None = None
    budget: str = ""  # from which ``reserved_usd`` was taken
    reserved_usd: float = 0.0
    reserved_tokens: int = 0
    failures: int = 0  # polls that failed in passing, since the last one that was answered

    def attempt(self, job_id: str) -> Attempt:
        """Its place in the ledger."""
        return Attempt(
            job_id=job_id,
            number=self.number,
            fence=self.fence,
            target=self.target,
            model=self.model,
            started_at=self.started_at,
        )


class InferCursor(Record, frozen=True, kw_only=True):
    """``progress`` of an ``infer`` job. Version 1 was the feedback of the validation alone: ``answer``, ``reasons``."""

    version: int = 2
    answer: str = ""
    reasons: str = ""
    pending: Submission | None = None
    rounds: int = 0  # submissions whose work has ended and is done once more


NEW = InferCursor()
_CURSOR = msgspec.json.Decoder(InferCursor)
_SUBMISSION = msgspec.json.Decoder(Submission)


def infer_cursor(progress: str | None) -> InferCursor:
    return _CURSOR.decode(progress) if progress else NEW


def encoded(cursor: InferCursor) -> str:
    return msgspec.json.encode(cursor).decode()


def record_id(job_id: str, number: int) -> str:
    return f"{job_id}.{number}"


def job_id_of(record: StoredRecord) -> str:
    return record.id.rpartition(".")[0]


def submission_of(record: StoredRecord) -> Submission:
    return _SUBMISSION.decode(record.data)
