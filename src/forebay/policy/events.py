"""Which event the end of a job is, and which patterns name it. Pure."""

import hashlib
from collections.abc import Iterable

from forebay.domain.batch import BATCH, BATCH_KINDS, batch_id, message_batch_id
from forebay.domain.ids import ALPHABET
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.pipeline import PIPELINE, run_id
from forebay.domain.response import is_background_response, response_id, state_of
from forebay.domain.webhook import Subject

_SUCCEEDED, _FAILED, _CANCELLED = Status.SUCCEEDED, Status.FAILED, Status.CANCELLED

_OF_BATCHES = {
    _SUCCEEDED: ("batch.completed",),
    _FAILED: ("batch.failed", "batch.expired"),
    _CANCELLED: ("batch.cancelled",),
}
#: The types that an end in a state can be.
_TYPES: dict[Subject, dict[Status, tuple[str, ...]]] = {
    Subject.JOB: {
        _SUCCEEDED: ("job.succeeded",),
        _FAILED: ("job.failed",),
        _CANCELLED: ("job.cancelled",),
    },
    Subject.BATCH: _OF_BATCHES,
    Subject.MESSAGE_BATCH: _OF_BATCHES,
    Subject.RESPONSE: {  # a model's own answer may say that it is incomplete, failed or cancelled
        _SUCCEEDED: ("response.completed", "response.incomplete", "response.failed", "response.cancelled"),
        _FAILED: ("response.failed",),
        _CANCELLED: ("response.cancelled",),
    },
    Subject.RUN: {
        _SUCCEEDED: ("run.succeeded",),
        _FAILED: ("run.failed",),
        _CANCELLED: ("run.cancelled",),
    },
}
EVENT_TYPES = tuple(
    dict.fromkeys(kind for by_status in _TYPES.values() for kinds in by_status.values() for kind in kinds)
)
ANY = "*"
_EVENT = "evt_"
_ID_CHARACTERS = 26


def is_pattern(text: str) -> bool:
    """Whether a text names one of our events, or (``batch.*``, ``*``) several."""
    return any(_matches(text, kind) for kind in EVENT_TYPES)


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of the patterns names the event; no pattern names all."""
    named = tuple(patterns)
    return not named or any(_matches(pattern, event_type) for pattern in named)


def statuses_of(subject: Subject, patterns: tuple[str, ...]) -> tuple[Status, ...]:
    """The ends of such a job that may be an event which the patterns name."""
    return tuple(
        status
        for status, kinds in _TYPES[subject].items()
        if any(matches(patterns, event_type) for event_type in kinds)
    )


def subject_of(job: Job) -> Subject:
    """What the end of a job is told as."""
    if job.kind in BATCH_KINDS:
        return Subject.BATCH if job.kind == BATCH else Subject.MESSAGE_BATCH
    if job.kind == PIPELINE:
        return Subject.RUN
    return Subject.RESPONSE if is_background_response(job) else Subject.JOB


def event_type_of(subject: Subject, status: Status, owner: Job | None, said: object = None) -> str:
    """The type of the event that ``owner`` ended as ``status``. ``said``: the ``status`` in a response's answer.

    An owner that was erased, or has been queued again since, is told by its status alone.
    """
    kinds = _TYPES[subject][status]
    if owner is None or owner.status is not status or len(kinds) == 1:
        return kinds[0]
    if subject is not Subject.RESPONSE:
        is_late = owner.error is not None and owner.error.code == ErrorCode.EXPIRED
        return "batch.expired" if is_late else "batch.failed"
    return f"{subject}.{state_of(owner, said)}"


def subject_id(subject: Subject, job_id: str) -> str:
    """What the event's ``data.id`` calls a job."""
    match subject:
        case Subject.BATCH:
            return batch_id(job_id)
        case Subject.MESSAGE_BATCH:
            return message_batch_id(job_id)
        case Subject.RESPONSE:
            return response_id(job_id)
        case Subject.RUN:
            return run_id(job_id)
        case Subject.JOB:
            return job_id


def event_id(job_id: str, happened_at: float) -> str:
    """The id of the event that a job ended then: the same for every endpoint and on every try."""
    digest = hashlib.sha256(f"{job_id}:{happened_at!r}".encode()).digest()
    number = int.from_bytes(digest, "big")
    return _EVENT + "".join([ALPHABET[(number >> 5 * place) & 31] for place in range(_ID_CHARACTERS)])


def _matches(pattern: str, event_type: str) -> bool:
    if pattern.endswith(".*"):
        return event_type.startswith(pattern.removesuffix("*"))
    return pattern in {ANY, event_type}
