"""A target that fails in every way: each job ends rightly, with the right count of attempts, and none is lost."""

from pathlib import Path
from typing import Any, NamedTuple

from forebay.domain.job import Job
from forebay.testing.processes import LONGEST_SECONDS

from .faults_support import checked, configure, counted, history_of, http, order, outcomes, submit, until, until_ended
from .processes import start, started

OF_EACH = 25
JOBS = 120
MAX_ATTEMPTS = 2
HANGING_SECONDS = 8  # time enough for the second call, which is answered at once


class Expected(NamedTuple):
    """How the jobs of one fault end: status, calls, those that count, the error's code, the first outcome."""

    status: str
    calls: int
    used: int
    code: str | None
    first: str


FAULTS = {
    "": Expected("succeeded", 1, 0, None, "succeeded"),
    "[[fault:429:2]]": Expected("succeeded", 3, 0, None, "throttled"),
    "[[fault:503:1]]": Expected("succeeded", 2, 0, None, "unavailable"),
    "[[fault:500:1]]": Expected("succeeded", 2, 1, None, "unavailable"),
    "[[fault:500]]": Expected("failed", MAX_ATTEMPTS, MAX_ATTEMPTS, "target_unavailable", "unavailable"),
    "[[fault:400]]": Expected("failed", 1, 0, "target_rejected", "rejected"),
    "[[fault:hang:1]]": Expected("succeeded", 2, 1, None, "timeout"),
    "[[fault:reset:1]]": Expected("succeeded", 2, 1, None, "unavailable"),
    "[[fault:reset-body:1]]": Expected("succeeded", 2, 1, None, "invalid_output"),
    "[[fault:close-body:1]]": Expected("succeeded", 2, 1, None, "invalid_output"),
    "[[fault:truncate]]": Expected("failed", MAX_ATTEMPTS, MAX_ATTEMPTS, "invalid_output", "invalid_output"),
    "[[fault:invalid:1]]": Expected("succeeded", 2, 1, None, "invalid_output"),
}


async def test_every_way_of_failing_has_its_own_end_and_count(tmp_path: Path) -> None:
    async with (
        started("mock-model", "--port", "0", "--retry-after", "0.1", folder=tmp_path) as mock,
        http() as session,
    ):
        configure(tmp_path, mock.address, concurrency=32)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            orders = [_order(marker, number) for number in range(OF_EACH) for marker in FAULTS]
            ids = await submit(session, server.address, orders)
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, ids, await counted(session, mock.address))
        assert len(jobs) == OF_EACH * len(FAULTS)
        for one, job_id in zip(orders, ids, strict=True):
            marker = one["metadata"]["marker"]
            assert (marker, _ended(jobs[job_id])) == (marker, FAULTS[marker])


async def test_a_target_that_goes_away_and_comes_back_costs_no_job_an_attempt(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "20", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=8)
        port = mock.address.removesuffix("/v1").rpartition(":")[2]
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await mock.kill()
            ids = await submit(session, server.address, [order(f"job {number:04d}.") for number in range(JOBS)])
            await until(lambda: _is_refused(tmp_path))
            back = await start("mock-model", "--port", port, "--latency-ms", "5", folder=tmp_path)
            try:
                await until_ended(tmp_path)
                assert await server.terminate() == 0
                calls = await counted(session, back.address)
            finally:
                await back.kill()
        jobs = await checked(tmp_path, ids, calls)
        assert {(job.status.value, job.attempts_used) for job in jobs.values()} == {("succeeded", 0)}
        refused = outcomes(jobs.values())["unavailable"]
        assert 0 < refused < JOBS, "the breaker spares most jobs a call that is refused"


async def _is_refused(folder: Path) -> bool:
    return bool(outcomes((await history_of(folder)).jobs.values())["unavailable"])


def _order(marker: str, number: int) -> dict[str, Any]:
    return order(
        f"{number} {marker}",
        timeout=HANGING_SECONDS if "hang" in marker else LONGEST_SECONDS,
        max_attempts=MAX_ATTEMPTS,
        metadata={"marker": marker},
    )


def _ended(job: Job) -> Expected:
    return Expected(
        job.status.value,
        len(job.attempts),
        job.attempts_used,
        job.error.code if job.error and job.status.value == "failed" else None,
        job.attempts[0].outcome.value,
    )
