"""Between domain records and rows, alike in every store: the only place that knows the columns of ``job_rows``."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.attempt import Attempt, Outcome, Usage
from forebay.domain.content import Content, Segment
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Ending, Job, JobError, Join, Notice, Result, Spec, Status, Taken
from forebay.domain.record import Record

Row = Sequence[Any]  # what a driver gives
AWAITED_URGENCY = 1000  # above every priority
POLL_URGENCY = -5_000  # below: of a job whose call goes on elsewhere; `ready.places` makes it so
POLL_COST = 1.0  # it was charged when it was submitted


class Fixed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What never changes of a job, as the column ``fixed`` keeps it: Job's own names, so that it decodes as a Job."""

    id: str
    kind: str
    queue: str
    created_at: float
    deadline: float
    tenant: str = "default"
    parent_id: str = ""
    key: str = ""
    fingerprint: str = ""
    origin: str = ""
    is_group: bool = False
    awaited: bool = False
    priority: int = 0
    tokens: int = 0
    weight: float = 1.0
    not_before: float | None = None
    spec: Spec = Spec()
    on_end: tuple[Notice, ...] = ()
    blobs: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode_fixed = msgspec.json.Decoder(Job).decode
_decode_usage = msgspec.json.Decoder(Usage).decode
_STATUS = {status.value: status for status in Status}
_ENDING: Mapping[str | None, Ending | None] = {None: None, **{ending.value: ending for ending in Ending}}


def encode_fixed(job: Job) -> str:
    return _encode(
        Fixed(
            id=job.id,
            kind=job.kind,
            queue=job.queue,
            created_at=job.created_at,
            deadline=job.deadline,
            tenant=job.tenant,
            parent_id=job.parent_id,
            key=job.key,
            fingerprint=job.fingerprint,
            origin=job.origin,
            is_group=job.is_group,
            awaited=job.awaited,
            priority=job.priority,
            tokens=job.tokens,
            weight=job.weight,
            not_before=job.not_before,
            spec=job.spec,
            on_end=job.on_end,
            blobs=job.blobs,
        )
    ).decode()


def without_args(text: str) -> str:
    """The same without what the job was told to do: of a run's jobs that has their users' words."""
    job = decode_fixed(text)
    return encode_fixed(msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, args=None)))


def decode_fixed(text: str) -> Job:
    """The job as it was added, with the state of a new one."""
    return _decode_fixed(text)


def urgency(job: Job) -> int:
    """Smaller goes first: awaited, then priority."""
    return -(job.priority + (AWAITED_URGENCY if job.awaited else 0))


def cost(job: Job) -> float:
    """What the job's place in ``ready`` adds to its tenant's rank; a job of unknown size counts as one token."""
    return max(job.tokens, 1) / job.weight


def charged(urgency: int, cost: float) -> float:
    """What a place in ``ready`` adds to the tenant's rank."""
    return POLL_COST if urgency <= POLL_URGENCY else cost


def decode_job(row: Row, *, body: Content | None = None) -> Job:
    """Makes a Job of the first columns of the view ``job_rows``."""
    (fixed, state, deadline, ending, due_at, started_at, finished_at, attempt_count, attempts_used) = row[:9]
    (rescues, lone_rescues, progress, successes, live, until) = row[9:15]
    (taken_succeeded, taken_failed, taken_cancelled, code, message) = row[15:20]
    job = _decode_fixed(fixed)
    return msgspec.structs.replace(
        job,
        is_group=job.is_group or live is not None,  # who has waited for children is a group from then on
        status=_STATUS[state],
        deadline=deadline,
        ending=_ENDING[ending],
        due_at=due_at,
        started_at=started_at,
        finished_at=finished_at,
        attempt_count=attempt_count,
        attempts_used=attempts_used,
        rescues=rescues,
        lone_rescues=lone_rescues,
        progress=progress,
        join=None if live is None else Join(successes=successes, live=live, until=until),
        taken=Taken(succeeded=taken_succeeded, failed=taken_failed, cancelled=taken_cancelled),
        error=None if code is None else JobError(code=code, message=message or ""),
        usage=usage_of(row[20:24]),
        cost_usd=row[24],
        body=body,
    )


def decode_fresh(row: Row, started_at: float) -> Job:
    """Makes a Job that was just claimed for the first time, of: fixed, deadline, due_at, progress and its content."""
    return msgspec.structs.replace(
        _decode_fixed(row[0]),
        status=Status.RUNNING,
        deadline=row[1],
        due_at=row[2],
        progress=row[3],
        started_at=started_at,
        body=content_of(*row[4:]),
    )


def usage_of(counts: Row) -> Usage | None:
    """Four sums, NULL where no call said anything."""
    if counts[0] is None:
        return None
    return Usage(input_tokens=counts[0], cached_tokens=counts[1], output_tokens=counts[2], reasoning_tokens=counts[3])


def usage_columns(usage: Usage | None) -> tuple[int | None, int | None, int | None, int | None]:
    if usage is None:
        return (None, None, None, None)
    return (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)


def sums_of(children: Sequence[Row]) -> list[float | None]:
    """Adds up the last five columns (tokens of four kinds, cost); None where no child said anything."""
    sums: list[float | None] = []
    for column in range(-5, 0):
        known = [child[column] for child in children if child[column] is not None]
        sums.append(sum(known) if known else None)
    return sums


def content_of(text: str | None, blob_id: str | None, size: int | None) -> Content | None:
    """The content of a row of bodies or results; None where there is no such row."""
    if size is None:
        return None
    return Content(text=text, blob_id=blob_id, bytes=size)


def result_of(row: Row) -> Result:
    """From: status_code, text, blob_id, bytes, request_id."""
    body = content_of(row[1], row[2], row[3])
    if body is None:
        raise StoreUnavailable("a result without a body: the store is damaged; run `forebay store check`")
    return Result(status_code=row[0], body=body, request_id=row[4])


def encode_usage(usage: Usage | None) -> str | None:
    return None if usage is None else _encode(usage).decode()


def attempt_of(row: Row) -> Attempt:
    """From the columns of ``attempts`` in their order."""
    return Attempt(
        job_id=row[0],
        number=row[1],
        fence=row[2],
        target=row[3],
        started_at=row[4],
        model=row[5],
        outcome=Outcome(row[6]),
        finished_at=row[7],
        status_code=row[8],
        error=row[9],
        retry_at=row[10],
        usage=None if row[11] is None else _decode_usage(row[11]),
        cost_usd=row[12],
    )


def segment_of(row: Row) -> Segment:
    """From: name, number, blob_id, lines, bytes."""
    return Segment(name=row[0], number=row[1], blob_id=row[2], lines=row[3], bytes=row[4])
