"""What the tests of faults share: an installation in a folder, load over HTTP, and the history of its store."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from forebay.app import SystemClock
from forebay.blobs.files import open_blobs
from forebay.domain.ids import IdSource
from forebay.domain.job import LIVE, Job
from forebay.domain.query import JobQuery
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.calls import Calls, mismatches
from forebay.testing.history import History, read_history, violations
from forebay.testing.processes import LONGEST_SECONDS

STORE = "forebay.db"
CONFIGURATION = """
store: sqlite:///forebay.db
lease_seconds: {lease}
targets:
  mock: {{type: openai, base_url: "{mock}", models: [mock], limits: {{concurrency: {concurrency}}}}}
"""


def configure(folder: Path, mock: str, *, concurrency: int = 16, lease: float = 30) -> None:
    (folder / "forebay.yaml").write_text(CONFIGURATION.format(mock=mock, concurrency=concurrency, lease=lease))


def order(name: str, **fields: Any) -> dict[str, Any]:
    """One line of a bulk submission."""
    body = {"model": "mock", "messages": [{"role": "user", "content": name}]}
    return {"body": body, "idempotency_key": name, **fields}


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONGEST_SECONDS)) as session:
        yield session


async def submit(session: aiohttp.ClientSession, server: str, orders: Iterable[dict[str, Any]]) -> list[str]:
    """Submits in bulk; every line must be accepted. Returns the ids."""
    data = "\n".join(json.dumps(one) for one in orders)
    async with session.post(f"{server}/v1/jobs/bulk", data=data) as reply:
        assert reply.status == 200, await reply.text()
        return [json.loads(line)["id"] for line in (await reply.text()).splitlines()]


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def counted(session: aiohttp.ClientSession, mock: str) -> Any:
    """What the mock model has seen."""
    return await get(session, f"{mock.removesuffix('/v1')}/mock/calls?ids=1")


async def change(session: aiohttp.ClientSession, mock: str, **options: Any) -> None:
    """Changes the mock model's options."""
    async with session.post(f"{mock.removesuffix('/v1')}/mock/options", json=options) as reply:
        assert reply.status == 200, await reply.text()


async def hold(session: aiohttp.ClientSession, mock: str, *, after: int = 0) -> None:
    """From now on calls beyond so many get no answer, until they are let go: what is in flight stays there."""
    await change(session, mock, hold_after=after)


async def let_go(session: aiohttp.ClientSession, mock: str) -> None:
    await change(session, mock, hold_after=None)


async def until(claim: Callable[[], Awaitable[bool]], *, seconds: float = LONGEST_SECONDS) -> None:
    """Waits until the claim is true of another process, which can't signal us."""
    async with asyncio.timeout(seconds):
        while not await claim():
            await asyncio.sleep(0.02)


async def until_in_flight(session: aiohttp.ClientSession, mock: str, calls: int) -> None:
    async def has_them() -> bool:
        return bool((await counted(session, mock))["in_flight"] >= calls)

    await until(has_them)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(folder / STORE, clock=SystemClock())
    try:
        yield store
    finally:
        await store.close()


async def until_ended(folder: Path, *, seconds: float = LONGEST_SECONDS) -> None:
    """Waits until no job is live."""
    query = JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1)
    async with opened(folder) as store:

        async def is_over() -> bool:
            return not await store.jobs.find(query)

        await until(is_over, seconds=seconds)


async def history_of(folder: Path) -> History:
    clock = SystemClock()
    async with opened(folder) as store:
        blobs = await open_blobs(folder / f"{STORE}.blobs", clock=clock, ids=IdSource(clock.now))
        return await read_history(store.jobs, blobs)


async def checked(
    folder: Path, accepted: list[str], calls: dict[str, Any] | None = None, *, is_over: bool = True
) -> dict[str, Job]:
    """The accepted jobs by id, after the history was found to be right. ``calls``: what ``counted`` says."""
    history = await history_of(folder)
    assert violations(history, accepted=accepted, is_over=is_over) == []
    if calls is not None:
        assert list(mismatches(history, Calls.of(calls))) == []
    return {job_id: history.jobs[job_id] for job_id in accepted}


def outcomes(jobs: Iterable[Job]) -> Counter[str]:
    return Counter(attempt.outcome.value for job in jobs for attempt in job.attempts)
