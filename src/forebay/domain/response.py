"""Response: OpenAI's Responses as jobs. Which infer jobs are responses, what they are called, and how they stand.

The mark stands in ``spec.args`` under ``response``, so that every reader of a job's row sees it without its body:
``response_of(job)`` is None for a job that is no response, and ``is_background_response(job)`` says whether its end is
told as an event ``response.completed``, ``failed``, ``cancelled`` or ``incomplete``, whose ``data.id`` is
``response_id(job.id)``. Which of the four it is says ``state_of(job, status in its result's body)``.
"""

from enum import StrEnum

import msgspec

from forebay.domain.job import Job, Status
from forebay.domain.record import Record

ENDPOINT = "/v1/responses"
_JOB, _RESPONSE = "job_", "resp_"
_MARK = '"response"'


class State(StrEnum):
    """The ``status`` of a Response."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"


class ResponseArgs(Record, frozen=True, kw_only=True):
    """``spec.args.response`` of an infer job that was asked for as a Response."""

    is_background: bool = False
    is_stored: bool = True  # False: body and result go 10 minutes after the end
    previous_id: str | None = None  # the response before it in the conversation: ours


class _Args(Record, frozen=True, kw_only=True):
    response: ResponseArgs | None = None


_ARGS = msgspec.json.Decoder(_Args)
_SAID = frozenset({State.INCOMPLETE.value, State.FAILED.value, State.CANCELLED.value})


def encode_args(args: ResponseArgs) -> str:
    """The ``spec.args`` of a response."""
    return msgspec.json.encode(_Args(response=args)).decode()


def response_of(job: Job) -> ResponseArgs | None:
    """What the job is as a Response; None if it is none."""
    args = job.spec.args
    if args is None or job.parent_id or _MARK not in args:
        return None
    return _ARGS.decode(args).response


def is_background_response(job: Job) -> bool:
    """Whether the job's end is news of a response that nobody held a connection for."""
    marked = response_of(job)
    return marked is not None and marked.is_background


def response_id(job_id: str) -> str:
    """``job_…`` as its response is called."""
    return _RESPONSE + job_id.removeprefix(_JOB)


def job_id_of(named: str) -> str:
    """The job of a response; of any other text, an id that no job has."""
    return _JOB + named.removeprefix(_RESPONSE) if named.startswith(_RESPONSE) else ""


def state_of(job: Job, said: object = None) -> State:
    """How the response stands. ``said``: the ``status`` in a succeeded job's answer, which may be ``incomplete``."""
    match job.status:
        case Status.SUCCEEDED:
            return State(said) if isinstance(said, str) and said in _SAID else State.COMPLETED
        case Status.CANCELLED:
            return State.CANCELLED
        case Status.FAILED:
            return State.FAILED
        case Status.QUEUED if job.started_at is None:
            return State.QUEUED
        case _:
            return State.IN_PROGRESS  # also between two attempts
