"""The batch's state machine over a real store, a step at a time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from forebay.domain.batch import ERRORS, LEDGER, OUTPUT, cursor_of, stream_file_id
from forebay.domain.change import Change, Tally, Verdict
from forebay.domain.file import FILE, file_data
from forebay.domain.job import DEAD, Ending, Job, JobError, Status
from forebay.domain.query import JobQuery
from forebay.domain.target import Limits
from forebay.engine.handlers.batch import retry_input
from forebay.policy.window import LARGEST, LARGEST_STEP, SMALLEST
from forebay.ports import JobStore, StoreFacts
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget
from tests.unit.batch.driver import QUEUE, TARGET, Driver, good, refused, request, requests, unreachable


def report(job: Job) -> dict[str, object]:
    """What a batch says of itself, without what is nothing."""
    assert job.result is not None
    members: dict[str, object] = msgspec.json.decode(job.result.body.text or "")
    return {name: value for name, value in members.items() if value}


def ids(lines: list[dict[str, object]]) -> list[object]:
    return [line["custom_id"] for line in lines]


async def test_every_line_is_answered_once_and_no_more_than_a_window_has_rows(driver: Driver) -> None:
    job_id = await driver.submit(requests(3000))
    await driver.step_batch()
    await driver.step_batch()
    assert (await driver.services.jobs.tally([job_id]))[0].live == SMALLEST
    job = await driver.finish(job_id)
    assert job.status is Status.SUCCEEDED
    assert sorted(map(str, ids(await driver.lines(job_id)))) == sorted(f"line-{number}" for number in range(3000))
    assert len(await driver.lines(job_id, LEDGER)) == 3000
    assert (job.taken.succeeded, job.cost_usd) == (3000, 1500.0)
    assert report(job) == {"total": 3000, "completed": 3000}
    assert await driver.services.jobs.find(JobQuery(tenant="default", parent_id=job_id)) == []


async def test_failed_lines_stay_as_dead_letters_and_stand_in_the_error_file(driver: Driver) -> None:
    def reply(job: Job) -> object:
        return {"line-1": refused, "line-2": unreachable}.get(job.spec.metadata["custom_id"], good)(job)

    job_id = await driver.submit(requests(4))
    job = await driver.finish(job_id, reply)  # type: ignore[arg-type]
    assert (job.status, report(job)["failed"]) == (Status.SUCCEEDED, 2)
    first, second = await driver.lines(job_id, ERRORS)
    assert first["response"] is not None
    assert (first["custom_id"], first["error"]) == ("line-1", None)
    assert (second["custom_id"], second["response"]) == ("line-2", None)
    assert second["error"] == {"code": "target_unavailable", "message": "gone"}
    dead = await driver.services.jobs.find(JobQuery(tenant="default", parent_id=job_id, statuses=DEAD))
    assert len(dead) == 2


async def test_blank_lines_and_a_last_line_without_a_newline_are_fine(driver: Driver) -> None:
    job_id = await driver.submit(b"\n" + request("a") + b"  \r\n" + request("b").strip())
    job = await driver.finish(job_id)
    assert ids(await driver.lines(job_id)) == ["a", "b"]
    assert report(job)["total"] == 2


async def test_an_answer_with_newlines_is_one_line(driver: Driver) -> None:
    def pretty(job: Job) -> object:
        done = good(job)
        assert done.result is not None
        body = msgspec.structs.replace(done.result.body, text='{\n "a": "x\\ny"\r\n}')
        return msgspec.structs.replace(done, result=msgspec.structs.replace(done.result, body=body))

    job_id = await driver.submit(requests(1))
    await driver.finish(job_id, pretty)  # type: ignore[arg-type]
    [line] = await driver.lines(job_id)
    assert line["response"]["body"] == {"a": "x\ny"}  # type: ignore[index]


async def test_a_step_that_was_lost_before_its_commit_does_nothing_twice(driver: Driver) -> None:
    job_id = await driver.submit(requests(1200))

    def reply(job: Job) -> object:
        return (refused if int(job.key) % 7 == 0 else good)(job)

    job = await driver.finish(job_id, reply, times=2)  # type: ignore[arg-type]
    lines, errors = await driver.lines(job_id), await driver.lines(job_id, ERRORS)
    assert len(ids(lines)) + len(ids(errors)) == 1200
    assert {*ids(lines), *ids(errors)} == {f"line-{number}" for number in range(1200)}
    assert report(job)["completed"] == len(lines)


async def test_lines_once_readable_never_change_while_it_runs(driver: Driver) -> None:
    job_id = await driver.submit(requests(2000))
    seen: list[dict[str, object]] = []
    while not (await driver.job(job_id)).is_terminal:
        if not await driver.step_batch():
            await driver.answer_lines(100)
        now = await driver.lines(job_id)
        assert now[: len(seen)] == seen
        seen = now
    assert len(seen) == 2000


async def test_what_is_finished_becomes_readable_although_the_window_is_not_half_empty(
    driver: Driver, clock: FakeClock
) -> None:
    job_id = await driver.submit(requests(1000))
    await driver.step_batch()
    await driver.step_batch()
    await driver.answer_lines(3)
    assert not await driver.step_batch()
    clock.advance(3.0)
    await driver.services.jobs.recover()
    assert await driver.step_batch()
    assert len(await driver.lines(job_id)) == 3


async def test_a_cancelled_batch_publishes_what_was_paid_for_and_a_line_for_everything_else(driver: Driver) -> None:
    job_id = await driver.submit(requests(1000))
    await driver.step_batch()
    await driver.step_batch()
    await driver.answer_lines(10)
    await driver.services.jobs.cancel("default", [job_id])
    assert (await driver.job(job_id)).ending is Ending.CANCEL
    job = await driver.finish(job_id)
    assert job.status is Status.CANCELLED
    assert report(job) == {"total": 1000, "completed": 10, "failed": 990, "cancelled": 990}
    errors = await driver.lines(job_id, ERRORS)
    assert len(await driver.lines(job_id)) == 10
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}  # type: ignore[index]
    assert len(set(ids(errors))) == 990


async def test_a_batch_cancelled_before_it_began_has_an_error_line_for_every_request(driver: Driver) -> None:
    job_id = await driver.submit(requests(5))
    await driver.services.jobs.cancel("default", [job_id])
    job = await driver.finish(job_id)
    assert (job.status, report(job)["failed"]) == (Status.CANCELLED, 5)
    assert ids(await driver.lines(job_id, ERRORS)) == [f"line-{number}" for number in range(5)]
    assert await driver.services.records.get("default", FILE, stream_file_id(job_id, OUTPUT)) is None


async def test_a_batch_past_its_deadline_is_expired_with_its_output(driver: Driver, clock: FakeClock) -> None:
    job_id = await driver.submit(requests(600))
    await driver.step_batch()
    await driver.step_batch()
    await driver.answer_lines(20)
    clock.advance(86_401.0)
    await driver.services.jobs.renew(driver.worker)
    while not (await driver.services.jobs.recover()).is_complete:
        pass
    job = await driver.finish(job_id)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == "expired"
    assert (report(job)["completed"], report(job)["failed"]) == (20, 580)
    errors = await driver.lines(job_id, ERRORS)
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}  # type: ignore[index]
    assert len(set(ids(errors))) == 580


async def test_a_retry_takes_exactly_the_lines_of_the_error_file(driver: Driver) -> None:
    def reply(job: Job) -> object:
        return (refused if int(job.key) % 3 == 0 else good)(job)

    job_id = await driver.submit(requests(30))
    job = await driver.finish(job_id, reply)  # type: ignore[arg-type]
    _, blob_id = await retry_input(job, driver.services)
    data = b"".join([piece async for piece in driver.services.blobs.read(blob_id)])
    assert data == b"".join(request(f"line-{number}") for number in range(30) if (number + 1) % 3 == 0)


async def test_the_files_get_their_size_and_their_expiry_at_the_end(driver: Driver) -> None:
    job_id = await driver.submit(requests(3))
    await driver.step_batch()
    file_id = stream_file_id(job_id, OUTPUT)
    opened = await driver.services.records.get("default", FILE, file_id)
    assert opened is not None
    assert (file_data(opened).bytes, opened.expires_at) == (0, None)
    await driver.finish(job_id)
    closed = await driver.services.records.get("default", FILE, file_id)
    assert closed is not None
    [segment] = await driver.services.jobs.segments(job_id, OUTPUT)
    assert file_data(closed).bytes == segment.bytes
    assert closed.expires_at is not None
    assert await driver.services.records.get("default", FILE, stream_file_id(job_id, ERRORS)) is None


async def test_a_dead_letter_retried_in_a_running_batch_is_waited_for(driver: Driver) -> None:
    job_id = await driver.submit(requests(2))
    await driver.step_batch()
    await driver.step_batch()
    await driver.answer_lines(1, unreachable)
    await driver.step_batch()
    [dead] = await driver.services.jobs.find(JobQuery(tenant="default", parent_id=job_id, statuses=DEAD))
    await driver.services.jobs.retry("default", [dead.id])
    job = await driver.finish(job_id)
    assert report(job) == {"total": 2, "completed": 2}


async def test_a_line_whose_model_is_no_longer_configured_fails_alone(tmp_path: Path) -> None:
    specs = [scripted_spec(TARGET), scripted_spec("other")]
    targets = [ScriptedTarget(TARGET), ScriptedTarget("other")]
    async with open_services(tmp_path, targets, specs=specs, store=tmp_path / "s.db") as services:
        driver = Driver(services)
        job_id = await driver.submit(request("a") + request("b", model="other-model"))
        await driver.step_batch()
    async with open_services(tmp_path, targets[:1], specs=specs[:1], store=tmp_path / "s.db") as services:
        driver = Driver(services)
        await services.jobs.renew(driver.worker)
        job = await driver.finish(job_id)
        assert (job.status, report(job)["failed"]) == (Status.SUCCEEDED, 1)
        [error] = await driver.lines(job_id, ERRORS)
    assert error["custom_id"] == "b"
    assert msgspec.convert(error["error"], JobError).code == "model_not_found"


async def test_the_window_grows_while_it_empties_soon(driver: Driver) -> None:
    job_id = await driver.submit(requests(9000))
    while not (await driver.job(job_id)).is_terminal:
        while await driver.step_batch():
            pass
        await driver.answer_lines(LARGEST)
    assert cursor_of((await driver.job(job_id)).progress).window == 32 * SMALLEST


async def test_the_window_grows_while_the_lane_calls_all_of_it(driver: Driver, clock: FakeClock) -> None:
    await driver.submit(requests(3000))
    held = 0
    for window in (SMALLEST, 2 * SMALLEST, 4 * SMALLEST):
        while await driver.step_batch():
            pass
        held += len(await driver.claim(QUEUE, LARGEST))
        assert held == window
        clock.advance(10.0)
        await driver.services.jobs.renew(driver.worker)
        await driver.services.jobs.recover()


async def test_a_window_that_waits_for_the_lane_stays_as_it_is(driver: Driver, clock: FakeClock) -> None:
    job_id = await driver.submit(requests(3000))
    for _ in range(20):
        while await driver.step_batch():
            pass
        assert await driver.answer_lines(20) == 20
        clock.advance(10.0)
        await driver.services.jobs.renew(driver.worker)
        await driver.services.jobs.recover()
    assert cursor_of((await driver.job(job_id)).progress).window == SMALLEST


async def test_one_step_sends_no_more_than_stands_in_memory_well_and_the_next_goes_on(driver: Driver) -> None:
    slots = 2 * LARGEST_STEP
    limited = msgspec.structs.replace(driver.services.specs[TARGET], limits=Limits(concurrency=slots))
    driver.services = replace(driver.services, specs={TARGET: limited})
    job_id = await driver.submit(requests(5 * LARGEST_STEP))
    await driver.step_batch()
    for step in range(1, 5):
        assert await driver.step_batch()
        [tally] = await driver.services.jobs.tally([job_id])
        assert tally.live == step * LARGEST_STEP
    assert not await driver.step_batch()


class BoundedStore:
    """The same store with a back end's bound, which it holds its callers to."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self.facts = StoreFacts(max_items_per_change=100)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    async def apply(self, changes: Sequence[Change]) -> list[Verdict]:
        for change in changes:
            taking = change.taking
            assert len(change.children) + len(taking.collect) + len(taking.segments) <= 100
        return await self._jobs.apply(changes)


async def test_a_step_never_exceeds_what_a_store_takes_at_once(driver: Driver) -> None:
    driver.services = replace(driver.services, jobs=BoundedStore(driver.services.jobs))  # type: ignore[arg-type]
    job_id = await driver.submit(requests(700))

    def reply(job: Job) -> object:
        return (refused if int(job.key) % 5 == 0 else good)(job)

    job = await driver.finish(job_id, reply)  # type: ignore[arg-type]
    assert report(job) == {"total": 700, "completed": 560, "failed": 140}
    assert len(await driver.lines(job_id, ERRORS)) == 140


class CountingStore:
    """The same store; counts tallies, whose cost is the window's."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self.tallies = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    async def tally(self, job_ids: Sequence[str]) -> list[Tally]:
        self.tallies += 1
        return await self._jobs.tally(job_ids)


async def test_a_window_is_counted_once_while_it_is_filled(driver: Driver) -> None:
    limited = msgspec.structs.replace(driver.services.specs[TARGET], limits=Limits(concurrency=2 * LARGEST_STEP))
    jobs = CountingStore(driver.services.jobs)
    driver.services = replace(driver.services, specs={TARGET: limited}, jobs=jobs)  # type: ignore[arg-type]
    await driver.submit(requests(5 * LARGEST_STEP))
    while await driver.step_batch():
        pass
    assert jobs.tallies == 1
    assert len(await driver.claim(QUEUE, LARGEST)) == 4 * LARGEST_STEP


async def test_large_lines_shrink_the_window(driver: Driver) -> None:
    text = "x" * 200_000
    job_id = await driver.submit(b"".join(request(f"r{number}", text=text) for number in range(120)))
    job = await driver.finish(job_id)
    assert report(job)["completed"] == 120
    assert driver.most_live < 120
