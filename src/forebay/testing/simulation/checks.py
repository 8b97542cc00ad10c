"""What must be true of a history when it is over, beyond what ``forebay.testing.history`` holds of any store."""

import json
from collections import Counter
from collections.abc import Iterator

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.job import ErrorCode, Job, OnUnknown, Status
from forebay.testing.calls import mismatches
from forebay.testing.history import History, violations
from forebay.testing.simulation.clients import Clients
from forebay.testing.simulation.world import World

ACCIDENTS = frozenset({Outcome.TIMEOUT, Outcome.INVALID_OUTPUT})
NOT_COUNTED = frozenset({429, 503})
REFUSED = "connection refused"
LONE_DEATHS = 2  # before a job is poison


def verdicts(history: History, world: World, clients: Clients) -> list[str]:
    """Everything that is not as it must be."""
    return [
        *world.witness.broken,
        *clients.broken,
        *world.loop.faults,
        *violations(history, accepted=clients.accepted),
        *mismatches(history, world.books.calls()),
        *_of_ends(history, world, clients),
        *_of_attempts(history, clients),
        *_of_unknowns(history, clients),
        *_of_cancels(history, clients),
        *_of_sightings(history, clients),
        *_of_batches(history, clients),
    ]


def _of_ends(history: History, world: World, clients: Clients) -> Iterator[str]:
    """Every job has ended, poison as a dead letter, and nothing else as poison."""
    for job in history.jobs.values():
        code = job.error.code if job.error else None
        if not job.is_terminal:
            yield f"{job.id} never ended: it is {job.status}"
        if code == ErrorCode.INTERNAL:
            yield f"{job.id} ended by an accident: {job.error}"
        lone = len(world.witness.alone.get(job.id, ()))
        if code == ErrorCode.POISON and lone < LONE_DEATHS:
            yield f"{job.id} ended as poison and was alone {lone} times"
        if job.id in clients.poison and job.status is Status.SUCCEEDED:
            yield f"{job.id} is poison and succeeded"


def _of_attempts(history: History, clients: Clients) -> Iterator[str]:
    """A job whose leases were never lost in a call has used exactly the attempts that count."""
    for job in history.jobs.values():
        most = job.spec.max_attempts
        if job.is_group or job.rescues:
            continue
        counted = sum(map(_is_counted, job.attempts))
        if job.attempts_used > most:
            yield f"{job.id} used {job.attempts_used} attempts of {most}"
        is_whole = not job.spec.stream  # one that was cut has ended for that, and used up nothing
        if is_whole and not clients.retried[job.id] and job.attempts_used != counted:
            yield f"{job.id} used {job.attempts_used} attempts and has {counted} that count"
        if counted > most * (1 + clients.retried[job.id]):
            yield f"{job.id} was tried {counted} times, may be {most}, and was retried {clients.retried[job.id]} times"


def _of_unknowns(history: History, clients: Clients) -> Iterator[str]:
    """What may have been answered is not sent again where it was asked not to be."""
    for job in history.jobs.values():
        if job.spec.on_unknown is not OnUnknown.HOLD or clients.retried[job.id]:
            continue
        for attempt in job.attempts[:-1]:
            if attempt.outcome is Outcome.UNKNOWN:
                yield f"{job.id} was sent again after attempt {attempt.number}, of which nobody knows the end"


def _of_cancels(history: History, clients: Clients) -> Iterator[str]:
    """Nobody is given a cancelled job again; a batch is, to end."""
    for job_id, fence in clients.cancelled.items():
        job = history.jobs.get(job_id)
        if job is None or job.is_group:
            continue
        late = [attempt.number for attempt in job.attempts if attempt.fence > fence]
        if late:
            yield f"{job_id} was cancelled and then given out again for attempts {late}"


def _of_sightings(history: History, clients: Clients) -> Iterator[str]:
    """An end that was read once is the end for ever, unless the job was retried."""
    for job_id, before in clients.seen.items():
        after = history.jobs.get(job_id)
        if after is None or clients.retried[job_id]:
            continue
        if (after.status, after.result, after.finished_at) != (before.status, before.result, before.finished_at):
            yield f"{job_id} was {before.status} at {before.finished_at} and is {after.status} at {after.finished_at}"


def _of_batches(history: History, clients: Clients) -> Iterator[str]:
    """A batch's counts add up, and each of its lines stands in one of its files."""
    for batch_id, expected in clients.lines.items():
        job = history.jobs.get(batch_id)
        if job is None or not job.is_terminal or job.result is None or job.result.body.text is None:
            if job is not None and job.status is Status.SUCCEEDED:
                yield f"{batch_id} succeeded without a report"
            continue
        report = json.loads(job.result.body.text)
        answered = Counter(history.outputs.get(batch_id, []))
        if report["completed"] + report["failed"] != report["total"]:
            yield f"the counts of {batch_id} don't add up: {report}"
        if report["completed"] != answered.total():
            yield f"{batch_id} reports {report['completed']} answers and has {answered.total()}"
        if report["total"] not in {0, len(expected)}:
            yield f"{batch_id} reports {report['total']} lines of {len(expected)}"
        if unknown := answered.keys() - set(expected):
            yield f"{batch_id} answers {sorted(unknown)}, which nobody asked"
        yield from _of_lines(history, job, report["total"])


def _of_lines(history: History, batch: Job, total: int) -> Iterator[str]:
    segments: Counter[str] = Counter()
    for segment in batch.segments:
        segments[segment.name] += segment.lines
    if segments["output"] + segments["errors"] != total:
        yield f"{batch.id} has {total} lines, {segments['output']} answers and {segments['errors']} errors"
    for line in history.ledgers.get(batch.id, []):
        if not any(attempt.outcome is Outcome.SUCCEEDED for attempt in line.attempts):
            yield f"{line.custom_id} of {batch.id} was taken over without an answer"


def _is_counted(attempt: Attempt) -> bool:
    if attempt.outcome in ACCIDENTS:
        return True
    is_failure = attempt.outcome is Outcome.UNAVAILABLE
    return is_failure and attempt.status_code not in NOT_COUNTED and attempt.error != REFUSED
