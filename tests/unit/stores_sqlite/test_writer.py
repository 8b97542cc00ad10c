"""The writer: what arrives together is committed together, and nothing is acknowledged that is not durable."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import pytest

from forebay.domain.change import Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.domain.job import Job
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.stores.sqlite.transaction import Tx
from forebay.stores.sqlite.writer import Call, Order, Writer, plan
from forebay.testing.clock import FakeClock


def _echo(_: Tx, arguments: Sequence[object]) -> Sequence[object]:
    return arguments


def _never(_: apsw.Connection) -> None:
    """Polls for nothing."""


def _call(order: Order, argument: object = None) -> Call:
    loop = asyncio.get_running_loop()
    return Call(order, _echo, argument, loop, loop.create_future())


async def test_calls_of_one_kind_run_as_one_and_in_the_order_of_a_jobs_life() -> None:
    calls = [_call(order) for order in (Order.CLAIM, Order.APPLY, Order.ADD, Order.APPLY, Order.BEGIN)]
    assert [[call.order for call in group] for group in plan(calls)] == [
        [Order.ADD],
        [Order.BEGIN],
        [Order.APPLY, Order.APPLY],
        [Order.CLAIM],
    ]


async def test_no_call_is_moved_across_a_barrier() -> None:
    calls = [_call(order) for order in (Order.APPLY, Order.BARRIER, Order.ADD, Order.BARRIER, Order.ADD)]
    assert [group[0] for group in plan(calls)] == calls


async def test_a_hundred_adds_that_arrive_together_take_few_commits(
    store: SqliteStore, path: Path, make: Callable[..., Job]
) -> None:
    watcher = apsw.Connection(str(path))
    versions = {watcher.execute("PRAGMA data_version").fetchall()[0][0]}
    adds = asyncio.gather(*(store.jobs.add([make()]) for _ in range(100)))
    while not adds.done():
        versions.add(watcher.execute("PRAGMA data_version").fetchall()[0][0])
        await asyncio.sleep(0)
    assert all(added.is_new for [added] in await adds)
    assert len(versions) < 20
    watcher.close()


async def test_a_job_that_stands_in_the_way_fails_for_its_caller_alone(
    store: SqliteStore, make: Callable[..., Job]
) -> None:
    bad = make(weight=0.0)  # no rank can be computed
    good = [make() for _ in range(3)]
    replies = await asyncio.gather(
        store.jobs.add(good[:1]),
        store.jobs.add([bad]),
        store.jobs.add(good[1:]),
        return_exceptions=True,
    )
    assert isinstance(replies[1], ZeroDivisionError)
    assert [job is not None for job in await store.jobs.get(None, [job.id for job in [*good, bad]])] == [
        True,
        True,
        True,
        False,
    ]


async def test_a_key_added_twice_in_one_commit_is_one_job(store: SqliteStore, make: Callable[..., Job]) -> None:
    first, second = make(key="k"), make(key="k")
    [one], [two] = await asyncio.gather(store.jobs.add([first]), store.jobs.add([second]))
    assert (one.id, two.id) == (first.id, first.id)
    assert (one.is_new, two.is_new) == (True, False)


async def test_a_full_disk_acknowledges_nothing_and_the_writer_goes_on(
    store: SqliteStore, make: Callable[..., Job]
) -> None:
    connection = store._backend._writer._connection
    pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    jobs = [make(progress="x" * 5000) for _ in range(50)]
    with pytest.raises(StoreUnavailable):
        await store.jobs.add(jobs)
    assert set(await store.jobs.get(None, [job.id for job in jobs])) == {None}
    connection.execute("PRAGMA max_page_count = 1000000")
    assert all(added.is_new for added in await store.jobs.add(jobs))


async def test_a_store_locked_by_another_for_too_long_is_unavailable_and_comes_back(
    path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    store = await open_store(path, clock=clock, busy_timeout_seconds=0.05)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    job = make()
    with pytest.raises(StoreUnavailable):
        await store.jobs.add([job])
    other.execute("ROLLBACK")
    other.close()
    [added] = await store.jobs.add([job])
    assert added.is_new
    await store.close()


async def test_a_closed_store_is_unavailable(path: Path, clock: FakeClock, make: Callable[..., Job]) -> None:
    store = await open_store(path, clock=clock)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.jobs.add([make()])
    with pytest.raises(StoreUnavailable):
        await store.jobs.depths()


async def test_what_was_queued_before_closing_is_committed(
    path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    store = await open_store(path, clock=clock)
    job = make()
    adding = asyncio.create_task(store.jobs.add([job]))
    await asyncio.sleep(0)
    await store.close()
    assert [added.is_new for added in await adding] == [True]
    again = await open_store(path, clock=clock)
    assert await again.jobs.get(None, [job.id]) != [None]
    await again.close()


async def test_an_error_within_the_careful_run_undoes_only_its_own_statements(clock: FakeClock) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (x)")
    writer = Writer(connection, clock, IdSource(clock.now), list, _never)
    writer.start()

    def run(tx: Tx, arguments: Sequence[int]) -> list[int]:
        for x in arguments:
            tx.connection.execute("INSERT INTO t VALUES (?)", (x,))
            if x == 2:
                raise ValueError(x)
        return list(arguments)

    calls = [asyncio.create_task(writer.call(Order.BARRIER, run, x)) for x in (1, 2, 3)]
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply if isinstance(reply, int) else type(reply) for reply in replies] == [1, ValueError, 3]
    assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (3,)]
    await writer.close()


async def test_a_cancelled_caller_does_not_stop_the_commit(store: SqliteStore, make: Callable[..., Job]) -> None:
    job = make()
    adding = asyncio.create_task(store.jobs.add([job]))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    await store.jobs.renew(Worker(id="w"))
    assert await store.jobs.get(None, [job.id]) != [None]


async def test_the_writer_outlives_whatever_goes_wrong(clock: FakeClock) -> None:
    connection = apsw.Connection(":memory:")
    times = iter([ValueError("no time"), ValueError("no time"), 7.0])

    class Broken:
        def now(self) -> float:
            time = next(times)
            if isinstance(time, ValueError):
                raise time
            return time

    def fails(_: apsw.Connection) -> None:
        raise apsw.IOError("no disk")

    writer = Writer(connection, Broken(), IdSource(clock.now), list, fails)
    writer.start()
    with pytest.raises(StoreUnavailable):
        await writer.call(Order.BARRIER, _echo, 1)
    assert await writer.call(Order.BARRIER, _echo, 2) == 2
    await writer.close()


async def test_closing_leaves_the_store_in_one_file(path: Path, clock: FakeClock, make: Callable[..., Job]) -> None:
    store = await open_store(path, clock=clock)
    await store.jobs.add([make()])
    await store.jobs.depths()
    await store.close()
    assert [found.name for found in await asyncio.to_thread(lambda: list(path.parent.iterdir()))] == [path.name]
