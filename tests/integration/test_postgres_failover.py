"""A hot standby takes over: what was acknowledged is there under synchronous replication, and nothing is called done
that isn't.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from forebay.app import SystemClock
from forebay.domain.change import Change, Verdict, Want, Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery
from forebay.stores.postgres import migrate, open_store, read_place
from forebay.testing.conformance.world import result
from forebay.testing.cutting import CuttingProxy, Fate
from forebay.testing.postgres import USER, PostgresServer, postgres_server
from tests.integration.test_postgres_doubt import COMMIT
from tests.integration.test_postgres_faults import PATIENCE_SECONDS, Storm

QUERY = "?timeout=4&listen=off"
NUMBERS = 50  # of transactions that the promoted standby gives away
STANDBY = "standby"


class Pair(NamedTuple):
    """A server with an empty store, and its hot standby."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def url(self) -> str:
        """Whichever of the two takes writes."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self)
        return f"postgresql://{USER}@{hosts}/postgres{QUERY}&target_session_attrs=read-write"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with postgres_server() as primary:
        asyncio.run(migrate(read_place(primary.url())))
        with postgres_server(standby_of=primary, name=STANDBY) as standby:
            yield Pair(primary, standby)


def job(name: str) -> Job:
    return Job(id=f"job_{name}", kind="infer", queue="q", created_at=1, due_at=1, deadline=4e9)


async def until_synchronous(primary: PostgresServer) -> None:
    """From now on a commit is acknowledged when the standby has it."""
    primary.run(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'", "SELECT pg_reload_conf()")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while primary.run("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").strip() != "1":
            await asyncio.sleep(0.05)


async def test_nothing_acknowledged_is_lost_where_the_standby_has_each_commit(pair: Pair, tmp_path: Path) -> None:
    await until_synchronous(pair.primary)

    async def fail_over(_: int) -> None:
        await asyncio.to_thread(pair.primary.stop, is_immediate=True)
        await asyncio.to_thread(pair.standby.promote)

    assert await Storm(pair.url, tmp_path).run(fail_over, times=1) == []


async def test_a_standby_takes_no_work_until_it_is_promoted(pair: Pair) -> None:
    store = await open_store(pair.standby.url() + QUERY)
    assert await store.jobs.find(JobQuery(tenant=None)) == []
    with pytest.raises(StoreUnavailable, match="recovery"):
        await store.jobs.add([job("early")])
    pair.standby.promote()
    [added] = await store.jobs.add([job("late")])
    assert added.is_new
    await store.close()


async def test_a_commit_is_not_called_done_for_another_server_s_transaction_of_that_number(pair: Pair) -> None:
    pair.standby.promote()
    pair.standby.run(*["SELECT pg_current_xact_id()"] * NUMBERS)
    async with CuttingProxy(pair.primary.port) as proxy:
        store = await open_store(pair.primary.url(port=proxy.port) + QUERY)
        seen: list[bytes] = []

        def judge(data: bytes) -> Fate:
            seen.append(data)
            if COMMIT not in data or not any(b"INSERT INTO jobs" in one for one in seen):
                return Fate.PASS
            proxy.upstream = pair.standby.port
            return Fate.LOSE

        proxy.judge = judge
        with pytest.raises(StoreUnavailable, match="standby took over"):
            await store.jobs.add([job("lost")])
        proxy.judge = lambda _: Fate.PASS
        [added] = await store.jobs.add([job("lost")])
        assert added.is_new
        await store.close()
    assert pair.standby.run("SELECT count(*) FROM jobs").strip() == "1"


async def test_a_lease_that_another_server_has_given_meanwhile_is_not_handed_back_for_one_that_was_lost(
    pair: Pair,
) -> None:
    """Without synchronous replication: the claim was lost with its server, and its fence was given once more."""
    clock = SystemClock()
    async with CuttingProxy(pair.primary.port) as proxy:
        store = await open_store(pair.primary.url(port=proxy.port) + QUERY)
        mine, other = Worker(id="mine", queues=("q",)), Worker(id="other", queues=("q",))
        wants = [Want(queue="q", lane="q", slots=1)]
        await store.jobs.add([replace(job("one"), deadline=clock.now() + 1000)])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while pair.standby.run("SELECT count(*) FROM ready").strip() != "1":
                await asyncio.sleep(0.05)
        pair.standby.promote()
        seen: list[bytes] = []

        def judge(data: bytes) -> Fate:
            seen.append(data)
            if COMMIT not in data or not any(b"INSERT INTO leases" in one for one in seen):
                return Fate.PASS
            proxy.upstream = pair.standby.port
            return Fate.LOSE

        proxy.judge = judge
        with pytest.raises(StoreUnavailable, match="standby took over"):
            await store.jobs.claim(mine, wants)
        proxy.judge = lambda _: Fate.PASS
        beside = await open_store(pair.standby.url() + QUERY)
        [claimed] = await beside.jobs.claim(other, wants)
        assert await store.jobs.claim(mine, wants) == []
        done = Change(job_id=claimed.job.id, fence=claimed.fence, status=Status.SUCCEEDED, result=result("well"))
        assert await beside.jobs.apply([done]) == [Verdict.APPLIED]
        await beside.close()
        await store.close()
