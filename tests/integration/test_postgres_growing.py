"""A layout that grows beneath workers of the release before: they go on, beside those of the next."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from forebay.cli.failures import DONE, FAILED
from forebay.cli.main import execute
from forebay.domain.change import Want
from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.domain.job import Status
from forebay.domain.query import JobQuery, Parts
from forebay.ports import Clock, JobStore
from forebay.stores.postgres import (
    Place,
    PostgresStore,
    State,
    check,
    migrate,
    migrating,
    open_store,
    read_layout,
    read_place,
)
from forebay.stores.postgres.backend import READERS
from forebay.stores.postgres.statements import migrations
from forebay.testing.conformance.world import QUEUE, World, opened
from tests.integration.postgres_house import server
from tests.integration.test_postgres_faults import Storm

NEXT = migrations()[-1][0] + 1
_VIEW = next(text for _, text in reversed(migrations()) if "VIEW job_rows" in text)
_GROWN_VIEW = _VIEW[_VIEW.index("CREATE") :].replace("l.fence\nFROM", "l.fence, j.hue\nFROM")
# What a release may do to the tables while the one before works on them: add.
GROWTH = f"""
ALTER TABLE jobs ADD COLUMN hue text;
ALTER TABLE leases ADD COLUMN hue text NOT NULL DEFAULT 'blue';
ALTER TABLE attempts ADD COLUMN hue bigint NOT NULL DEFAULT 0;
CREATE INDEX jobs_hue ON jobs (hue) WHERE hue IS NOT NULL;
{_GROWN_VIEW}
"""
_schemas = count()


@pytest.fixture
def url() -> str:
    return f"{server().url()}?schema=growing{next(_schemas)}"


@pytest.fixture
async def place(url: str) -> Place:
    """A store of the layout that this program knows."""
    place = read_place(url)
    await migrate(place)
    return place


@pytest.fixture
async def blocker(place: Place) -> AsyncIterator[Any]:
    """A session that reads the jobs in a transaction, and stays in it until it is told to commit."""
    connection = await asyncpg.connect(place.dsn)
    await connection.execute(f"BEGIN; LOCK TABLE {place.quoted_schema}.jobs IN ACCESS SHARE MODE")
    yield connection
    await connection.close()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this program the next release, which knows one layout more; what is open stays as it is."""
    return lambda: monkeypatch.setattr(migrating, "migrations", lambda: [*migrations(), (NEXT, GROWTH)])


@pytest.fixture
def in_vain(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a step of a migration has waited for a lock in vain."""
    waited, step = asyncio.Event(), migrating._step

    async def watched(place: Place, number: int, text: str) -> None:
        try:
            await step(place, number, text)
        except asyncpg.LockNotAvailableError:
            waited.set()
            raise

    monkeypatch.setattr(migrating, "_step", watched)
    return waited


async def test_workers_of_the_release_before_go_on_while_the_layout_grows(
    url: str, place: Place, blocker: Any, release: Callable[[], None], in_vain: asyncio.Event, tmp_path: Path
) -> None:
    async def grow(_: int) -> None:
        release()
        migration = asyncio.create_task(migrate(place))
        await in_vain.wait()
        await blocker.execute("COMMIT")
        assert (await migration)[1] == NEXT

    assert await Storm(url, tmp_path).run(grow, times=1) == []


async def test_both_releases_work_on_one_store(place: Place, release: Callable[[], None]) -> None:
    async def open_it(clock: Clock) -> PostgresStore:
        return await open_store(place, clock=clock)

    async with opened(open_it) as world:
        ids = [(await world.add()).id for _ in range(20)]
        assert await _statuses(world.jobs, ids) == [Status.QUEUED] * 20
        release()
        await migrate(place)
        after = (await world.second()).jobs
        ended = await _work(world, world.jobs, "old", 10) + await _work(world, after, "new", 10)
        assert sorted(ended) == sorted(ids)
        for jobs in (world.jobs, after):
            assert await _statuses(jobs, ids) == [Status.SUCCEEDED] * 20
    assert await check(place) == []


async def _statuses(jobs: JobStore, ids: list[str]) -> list[Status]:
    return [one.status for one in await jobs.get(None, ids) if one is not None]


async def _work(world: World, jobs: JobStore, name: str, slots: int) -> list[str]:
    """Claims so many jobs and ends them."""
    worker = world.known(name)
    await jobs.renew(worker)
    claimed = await jobs.claim(worker, [Want(queue=QUEUE, lane=QUEUE, slots=slots, cap=100)])
    await jobs.begin([world.attempt(one) for one in claimed])
    await jobs.apply([world.change(one, attempts=(world.completed(world.attempt(one)),)) for one in claimed])
    return [one.job.id for one in claimed]


async def test_statements_that_were_prepared_before_are_prepared_anew(
    place: Place, release: Callable[[], None]
) -> None:
    store = await open_store(place)
    page = JobQuery(tenant=None, parts=Parts(body=True))  # within a transaction, where the driver can't repeat it
    for _ in range(READERS):
        assert await store.jobs.find(page) == []
    release()
    await migrate(place)
    for _ in range(READERS):
        assert await store.jobs.find(page) == []
    await store.close()


async def test_a_program_of_the_release_before_is_refused_as_it_starts(
    place: Place, release: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    release()
    await migrate(place)
    monkeypatch.undo()
    for step in (open_store(place), migrate(place)):
        with pytest.raises(StoreRefused, match="upgrade this program"):
            await step


async def test_a_lock_that_is_never_given_up_is_told_and_nothing_has_changed(
    place: Place, blocker: Any, release: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    release()
    monkeypatch.setattr(migrating, "TRIES", 1)
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "10ms")
    with pytest.raises(StoreUnavailable, match=r"keep the tables .* locked"):
        await migrate(place)
    assert not blocker.is_closed()
    layout = await read_layout(place)
    assert (layout.state, layout.version) == (State.OLDER, NEXT - 1)


def test_the_check_tells_that_a_migration_is_due(
    url: str, release: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "forebay.yaml"
    config.write_text(f"store: '{url}'")
    words = ["store", "migrate", "--config", str(config)]
    assert execute(words) == DONE
    release()
    assert execute([*words, "--check"]) == FAILED
    assert str(NEXT) in capsys.readouterr().out
    assert execute(words) == DONE
    assert execute([*words, "--check"]) == DONE
