"""What a worker asks of the store for each job, without a model: claim, begin, apply; some hundreds in one commit.

Run as a program (``python -m forebay.bench.cycle CONFIG``) it claims and ends jobs until it is stopped.
"""

import asyncio
import sys
from pathlib import Path

from forebay.app import System, open_system
from forebay.bench.parts import ANSWER
from forebay.bench.place import SLOTS, settings_of
from forebay.domain.attempt import Attempt, Outcome, Usage
from forebay.domain.change import Change, Claimed, Want, Worker
from forebay.domain.content import Content
from forebay.domain.job import Result, Status
from forebay.domain.lane import target_queue

TARGET = "mock"
AT_ONCE = 250
READY = "claiming"
PAUSE_SECONDS = 0.02  # when there was nothing to claim
_WANT = Want(queue=target_queue(TARGET), lane=TARGET, slots=AT_ONCE, cap=SLOTS)
_USAGE = Usage(input_tokens=200, output_tokens=10)


async def registered(system: System) -> Worker:
    """A worker that the store knows; it stays alive for the length of a lease."""
    worker = Worker(id=system.services.ids.new("worker"), queues=(target_queue(TARGET),))
    await system.services.jobs.renew(worker)
    return worker


async def claim_and_end(system: System, worker: Worker) -> int:
    """One cycle: each claimed job begins an attempt and succeeds. Returns how many there were."""
    jobs = system.services.jobs
    claimed = await jobs.claim(worker, [_WANT])
    attempts = [_begun(one) for one in claimed]
    await jobs.begin(attempts)
    await jobs.apply([_succeeded(one, attempt) for one, attempt in zip(claimed, attempts, strict=True)])
    return len(claimed)


def _begun(one: Claimed) -> Attempt:
    return Attempt(
        job_id=one.job.id, number=1, fence=one.fence, target=TARGET, model=TARGET, started_at=one.job.created_at
    )


def _succeeded(one: Claimed, attempt: Attempt) -> Change:
    ended = Attempt(
        job_id=attempt.job_id,
        number=attempt.number,
        fence=attempt.fence,
        target=TARGET,
        model=TARGET,
        started_at=attempt.started_at,
        outcome=Outcome.SUCCEEDED,
        finished_at=attempt.started_at,
        status_code=200,
        usage=_USAGE,
    )
    result = Result(status_code=200, body=Content(text=ANSWER.decode(), bytes=len(ANSWER)))
    return Change(
        job_id=one.job.id, fence=one.fence, status=Status.SUCCEEDED, result=result, attempts=(ended,), usage=_USAGE
    )


async def _run(file: Path) -> None:
    async with open_system(settings_of(file)) as system:
        worker = await registered(system)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        while True:
            if not await claim_and_end(system, worker):
                await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
