"""Targets that are away for a while, each in its own way: nothing is lost or counted, nobody else waits, and work goes
on by itself when they are back.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from forebay.domain.attempt import Outcome
from forebay.domain.job import Job, Status
from forebay.domain.target import TargetType
from forebay.targets.clients import HttpLibrary
from forebay.testing.wire_faults import refuses

from .wire import Wired, echoed, is_plain, wired

JOBS = 60
OTHERS = 40
MINUTE = 60.0
SOON_SECONDS = 40.0  # a breaker's longest pause is 30 s, and a tenth
TYPES = {"away": TargetType.OPENAI, "well": TargetType.OPENAI}
Step = Callable[[Wired], Awaitable[None]]


async def _throttles(wire: Wired) -> None:
    wire.servers["away"].misbehave(*[refuses(429)] * 10_000)


async def _throttles_and_says_so(wire: Wired) -> None:
    wire.servers["away"].misbehave(*[refuses(429, "retry-after: 7")] * 10_000)


async def _is_overloaded(wire: Wired) -> None:
    wire.servers["away"].misbehave(*[refuses(503)] * 10_000)


async def _refuses_connections(wire: Wired) -> None:
    await wire.servers["away"].stop()


@pytest.mark.parametrize("goes_away", [_throttles, _throttles_and_says_so, _is_overloaded, _refuses_connections])
async def test_a_target_that_is_away_for_a_minute_costs_nobody_anything(tmp_path: Path, goes_away: Step) -> None:
    async with wired(tmp_path, TYPES) as wire:
        await goes_away(wire)
        waiting = [await wire.submit("away", max_attempts=1) for _ in range(JOBS)]
        others = [await wire.submit("well") for _ in range(OTHERS)]
        await wire.worker.run_until_idle()
        assert {(await wire.engine.get(job_id)).status for job_id in others} == {Status.SUCCEEDED}
        await _lets_pass(wire, MINUTE)
        assert {(await wire.engine.get(job_id)).status for job_id in waiting} == {Status.QUEUED}
        wire.servers["away"].behave()
        if goes_away is _refuses_connections:
            await wire.servers["away"].start()
        await _lets_pass(wire, SOON_SECONDS)
        jobs = [await wire.engine.get(job_id) for job_id in waiting]
        assert {(job.status, job.attempts_used, echoed(job)) for job in jobs} == {(Status.SUCCEEDED, 0, True)}
        calls = sum(len(job.attempts) for job in jobs)
        assert calls - JOBS < JOBS, "while it was away it was asked now and then, not for each job"
        await wire.is_well(*waiting, *others)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_a_name_that_fails_and_then_resolves_costs_no_attempt(
    tmp_path: Path, library: HttpLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    is_down = True

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if is_down and host not in ("127.0.0.1", b"127.0.0.1"):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    name = "localhost" if library is HttpLibrary.AIOHTTP else "no-such-host.invalid"
    async with wired(tmp_path, {"t": TargetType.OPENAI}, library=library, host=name) as wire:
        job_id = await wire.submit(max_attempts=1)
        for _ in range(4):
            await wire.worker.run_until_idle()
            wire.engine.clock.advance(MINUTE)
        job = await wire.engine.get(job_id)
        assert (job.status, job.attempts_used) == (Status.QUEUED, 0)
        assert {one.outcome for one in job.attempts} == {Outcome.UNAVAILABLE}
        assert all(is_plain(one.error) for one in job.attempts)
        if library is HttpLibrary.AIOHTTP:  # the other one asks the system in a thread of its own
            is_down = False
            [job] = await wire.ended(job_id)
            assert job.status is Status.SUCCEEDED


@pytest.mark.parametrize("library", HttpLibrary)
async def test_a_server_that_is_killed_and_started_again_and_again_ends_every_job(
    tmp_path: Path, library: HttpLibrary
) -> None:
    """Fake time passes with the real one; calls in flight at a kill count, those that are refused do not."""
    async with wired(tmp_path, {"t": TargetType.OPENAI}, library=library) as wire:
        ids = [await wire.submit(max_attempts=50) for _ in range(JOBS)]
        async with wire.worker, asyncio.timeout(120):
            for _ in range(8):
                before = len(wire.server.requests)
                while len(wire.server.requests) < before + 5 and not await _are_over(wire, ids):
                    wire.engine.clock.advance(0.2)
                    await asyncio.sleep(0.002)
                await wire.server.stop()
                wire.engine.clock.advance(0.5)
                await asyncio.sleep(0.02)
                await wire.server.start()
            while not await _are_over(wire, ids):
                wire.engine.clock.advance(0.2)
                await asyncio.sleep(0.002)
        jobs = [await wire.engine.get(job_id) for job_id in ids]
        assert {(job.status, echoed(job)) for job in jobs} == {(Status.SUCCEEDED, True)}
        assert all(job.attempts_used == sum(map(_is_counted, job.attempts)) for job in jobs)
        assert all(_sent(job) <= wire.server.calls(job.id) + _cut(job) for job in jobs)
        assert all(wire.server.calls(job.id) <= len(job.attempts) for job in jobs)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_a_certificate_that_does_not_fit_is_waited_for_until_it_does(
    tmp_path: Path, library: HttpLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with wired(tmp_path, {"t": TargetType.OPENAI}, library=library, tls=context) as wire:
        job_id = await wire.submit(max_attempts=1)
        for _ in range(3):
            await wire.worker.run_until_idle()
            wire.engine.clock.advance(MINUTE)
        job = await wire.engine.get(job_id)
        assert (job.status, job.attempts_used, wire.server.requests) == (Status.QUEUED, 0, [])
        assert {one.outcome for one in job.attempts} == {Outcome.UNAVAILABLE}
        assert all(is_plain(one.error) for one in job.attempts)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        [job] = await wire.ended(job_id)
        assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 0)
        await wire.is_well(job_id)


async def _lets_pass(wire: Wired, seconds: float) -> None:
    """Steps through fake time as a worker's loop would."""
    until = wire.engine.clock.now() + seconds
    while wire.engine.clock.now() < until:
        await wire.worker.run_until_idle()
        wire.engine.clock.advance(0.5)
    await wire.worker.run_until_idle()


async def _are_over(wire: Wired, job_ids: list[str]) -> bool:
    return all([(await wire.engine.get(job_id)).is_terminal for job_id in job_ids])


def _is_counted(attempt: Any) -> bool:
    """Of this server: what was cut after it was sent."""
    return attempt.outcome is not Outcome.SUCCEEDED and "cannot connect" not in attempt.error


def _sent(job: Job) -> int:
    return sum(one.outcome is Outcome.SUCCEEDED or _is_counted(one) for one in job.attempts)


def _cut(job: Job) -> int:
    """Calls that were cut may have been sent and not been read."""
    return sum(map(_is_counted, job.attempts))
