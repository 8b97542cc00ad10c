"""Servers that take for ever, each in its own way: a time-out that counts, and no other lane notices."""

import asyncio
from pathlib import Path

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.job import ErrorCode, Status
from forebay.domain.target import TargetType
from forebay.targets.clients import HttpLibrary
from forebay.testing.faulty_server import Behaviour
from forebay.testing.wire_faults import (
    JSON,
    SSE,
    accepts_and_reads_nothing,
    chunk,
    drips,
    hangs,
    head,
    sends,
    whole,
)

from .wire import Wired, is_plain, wired

TIMEOUT_SECONDS = 1.0
CHUNKED = head(200, [*JSON, "transfer-encoding: chunked"])
SLOW = {
    "silent": hangs(),
    "deaf": accepts_and_reads_nothing(),
    "a head without an end": drips(b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n"),
    "a head byte by byte": drips(b"HTTP/1.1 200 OK\r\nx-long: ", b"x"),
    "continue for ever": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a head alone": hangs(head(200, [*JSON, "content-length: 9"])),
    "half a body": hangs(head(200, [*JSON, "content-length: 9"]) + b"{"),
    "a body byte by byte": drips(head(200, [*JSON, "content-length: 999999"]), b" "),
    "chunks without an end": drips(CHUNKED, chunk(b" ")),
    "a body until the end that never comes": drips(head(200), b" "),
    "a refusal that never ends": drips(head(400, [*JSON, "content-length: 99"]), b""),
}
SLOW_STREAMS = {
    "silent": hangs(head(200, SSE)),
    "comments for ever": drips(head(200, SSE), chunk(b": wait\n\n")),
    "an event without an end": drips(head(200, SSE), chunk(b"data: .")),
}


@pytest.mark.parametrize("library", HttpLibrary)
async def test_whoever_takes_for_ever_times_out_and_holds_nobody_up(tmp_path: Path, library: HttpLibrary) -> None:
    await _time_out(tmp_path, SLOW, library, is_stream=False)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_a_stream_that_takes_for_ever_times_out(tmp_path: Path, library: HttpLibrary) -> None:
    await _time_out(tmp_path, SLOW_STREAMS, library, is_stream=True)


async def test_a_lane_whose_every_slot_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with wired(tmp_path, {"hanging": TargetType.OPENAI, "well": TargetType.OPENAI}) as wire:
        wire.servers["hanging"].misbehave(*[hangs()] * 100)
        stuck = [await wire.submit("hanging", timeout_seconds=600) for _ in range(20)]
        async with wire.worker:
            await _until_called(wire, "hanging", 8)
            well = [await wire.submit("well") for _ in range(100)]
            await _until_ended(wire, well)
            assert {(await wire.engine.get(job_id)).status for job_id in stuck} == {Status.RUNNING, Status.QUEUED}
            await wire.engine.services.jobs.cancel("default", stuck)
            await _until_ended(wire, stuck)
        assert wire.worker.lanes.by_name["hanging"].in_flight == 0


async def test_a_large_request_to_a_deaf_server_times_out(tmp_path: Path) -> None:
    async with wired(tmp_path, {"t": TargetType.OPENAI}) as wire:
        wire.server.misbehave(accepts_and_reads_nothing())
        body = '{"model":"m","messages":[{"role":"user","content":"%s"}]}' % ("x" * 20_000_000)
        job_id = await wire.engine.submit(
            target="t", endpoint="/v1/chat/completions", body=body, timeout_seconds=TIMEOUT_SECONDS, max_attempts=1
        )
        [job] = await wire.ended(job_id)
        assert [one.outcome for one in job.attempts] == [Outcome.TIMEOUT]
        await wire.is_well(job_id)


async def test_a_kept_connection_that_was_poisoned_meanwhile_gives_no_job_another_s_answer(tmp_path: Path) -> None:
    async with wired(tmp_path, {"t": TargetType.OPENAI}) as wire:
        late = whole(b'{"choices":[],"stolen":1}')
        for rest in (late, b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", refusal_of(500)):
            wire.server.misbehave(sends(whole(b"{}"), rest, is_kept=True))
            [first] = await wire.ended(await wire.submit())
            assert first.result is not None
            assert first.result.body.text == "{}"
            await wire.is_well(first.id)


def refusal_of(status: int) -> bytes:
    return whole(b"{}", status=status)


async def _time_out(folder: Path, faults: dict[str, Behaviour], library: HttpLibrary, *, is_stream: bool) -> None:
    """Meets all of them at once, each at a server of its own."""
    async with wired(folder, dict.fromkeys(faults, TargetType.OPENAI), library=library) as wire:
        for name, fault in faults.items():
            wire.servers[name].misbehave(fault)
        ids = [
            await wire.submit(name, timeout_seconds=TIMEOUT_SECONDS, max_attempts=1, is_stream=is_stream)
            for name in faults
        ]
        jobs = await wire.ended(*ids)
        seen = {
            name: (job.attempts[0].outcome, job.error and job.error.code)
            for name, job in zip(faults, jobs, strict=True)
        }
        expected = dict.fromkeys(faults, (Outcome.TIMEOUT, ErrorCode.TARGET_TIMEOUT))
        if "a refusal that never ends" in faults:
            expected["a refusal that never ends"] = (Outcome.REJECTED, ErrorCode.TARGET_REJECTED)
        assert seen == expected
        assert {(job.status, len(job.attempts)) for job in jobs} == {(Status.FAILED, 1)}
        assert all(is_plain(job.attempts[0].error) for job in jobs)
        await wire.is_well(*ids)


async def _until_called(wire: Wired, target: str, calls: int) -> None:
    async with asyncio.timeout(120):
        while len(wire.servers[target].requests) < calls:
            await asyncio.sleep(0.005)


async def _until_ended(wire: Wired, job_ids: list[str]) -> None:
    async with asyncio.timeout(120):
        while not all([(await wire.engine.get(job_id)).is_terminal for job_id in job_ids]):
            await asyncio.sleep(0.02)
