"""Whatever hurts a store is found by `forebay doctor`, with what to do about it."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import apsw
import asyncpg
import pytest

from forebay.app import SystemClock
from forebay.cli.doctor import examine
from forebay.domain.health import Check, Level
from forebay.settings import Settings, StoreSettings
from forebay.stores import postgres, sqlite
from forebay.stores.postgres import health, health_server, health_tables
from forebay.stores.sqlite import health as file_health
from forebay.testing.pooling import TransactionPooler
from forebay.testing.postgres import USER
from tests.integration.postgres_house import empty_place, server

FUTURE_SECONDS = 1000
LEASE = """
INSERT INTO {}leases (job_id, lane, worker_id, epoch, is_alone, claimed_at) VALUES ('j', 'l', 'w', 0, false, 0)"""


def of(name: str, checks: list[Check]) -> list[tuple[Level, str]]:
    return [(check.level, check.message) for check in checks if check.name == name]


@pytest.fixture(scope="module")
def url() -> str:
    return server().make_database("ill")


@pytest.fixture
async def place(url: str) -> postgres.Place:
    return await empty_place(url)


@pytest.fixture
async def session(url: str, place: postgres.Place) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def test_a_database_that_is_well_has_nothing_but_what_tests_leave_out(url: str, place: postgres.Place) -> None:
    checks = await examine(Settings(store=StoreSettings(url=url, path=None), blobs=None))
    wrong = [(check.name, check.message.split(" is off")[0]) for check in checks if check.level is not Level.OK]
    assert wrong == [("durability", "fsync"), ("durability", "full_page_writes")]
    names = {check.name for check in checks}
    assert names >= {"clock", "server", "connections", "pooler", "transactions", "indexes", "dead rows", "leases"}
    assert names >= {"layout", "store", "blobs"}


async def test_a_transaction_that_is_open_for_long_is_named(
    place: postgres.Place, session: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_server, "LONG_SECONDS", 0.0)
    async with session.transaction(isolation="repeatable_read"):
        await session.execute("SELECT count(*) FROM forebay.jobs")
        [(level, message)] = of("transactions", (await postgres.examine(place)).checks)
    assert level is Level.WARN
    assert f"pg_terminate_backend({session.get_server_pid()})" in message


async def test_an_index_that_is_missing_is_named_with_what_makes_it(
    place: postgres.Place, session: asyncpg.Connection
) -> None:
    await session.execute("SET search_path = forebay; DROP INDEX jobs_waiting")
    [(level, message)] = of("indexes", (await postgres.examine(place)).checks)
    assert (level, message.startswith("jobs_waiting is missing: CREATE INDEX")) == (Level.FAIL, True)
    await session.execute(message.partition(": ")[2])
    [(level, _)] = of("indexes", (await postgres.examine(place)).checks)
    assert level is Level.OK


async def test_an_index_that_is_invalid_is_named(place: postgres.Place, session: asyncpg.Connection) -> None:
    mark = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = 'forebay.jobs_done'::regclass"
    await session.execute(mark.format("false"))
    try:
        [(level, message)] = of("indexes", (await postgres.examine(place)).checks)
    finally:
        await session.execute(mark.format("true"))
    assert (level, "REINDEX INDEX CONCURRENTLY" in message) == (Level.FAIL, True)


async def test_a_table_without_its_key_is_named(place: postgres.Place, session: asyncpg.Connection) -> None:
    await session.execute("ALTER TABLE forebay.chunks DROP CONSTRAINT chunks_pkey")
    try:
        [(level, message)] = of("indexes", (await postgres.examine(place)).checks)
    finally:
        await session.execute("ALTER TABLE forebay.chunks ADD PRIMARY KEY (job_id, number)")
    assert (level, message.startswith("chunks has no primary key")) == (Level.FAIL, True)


async def test_few_connections_left_are_told(place: postgres.Place, session: asyncpg.Connection) -> None:
    await session.execute("ALTER DATABASE ill CONNECTION LIMIT 4")
    try:
        [(level, message)] = of("connections", (await postgres.examine(place)).checks)
    finally:
        await session.execute("ALTER DATABASE ill CONNECTION LIMIT -1")
    assert (level, "of 4 taken (of this database)" in message) == (Level.FAIL, True)


async def test_dead_rows_that_stay_are_told(
    place: postgres.Place, session: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_tables, "MANY_DEAD", 100)
    await session.execute("ALTER TABLE forebay.budgets SET (autovacuum_enabled = off)")
    await session.execute("INSERT INTO forebay.budgets SELECT n::text, 0 FROM generate_series(1, 1000) n")
    await session.execute("DELETE FROM forebay.budgets")
    await session.close()  # it tells its numbers as it ends
    found: list[tuple[Level, str]] = []
    while not found or found[0][0] is Level.OK:
        found = of("dead rows", (await postgres.examine(place)).checks)
    assert [level for level, _ in found] == [Level.WARN]
    assert "budgets has 1,000 dead rows" in found[0][1]
    assert "VACUUM (ANALYZE)" in found[0][1]


async def test_acknowledged_work_that_a_crash_may_forget_is_a_failure(url: str, place: postgres.Place) -> None:
    server().run("ALTER DATABASE ill SET synchronous_commit = off")
    try:
        messages = [message for _, message in of("durability", (await postgres.examine(place)).checks)]
    finally:
        server().run("ALTER DATABASE ill RESET synchronous_commit")
    assert any("synchronous_commit is off" in message for message in messages)


async def test_clocks_that_differ_are_told(place: postgres.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "time", SimpleNamespace(time=lambda: time.time() - 100))
    found = await postgres.examine(place)
    [(level, message)] = of("clock", found.checks)
    assert (level, "100 s behind the database's" in message) == (Level.WARN, True)
    assert found.skew_seconds == pytest.approx(100, abs=5)


async def test_jobs_that_dead_workers_hold_are_told(place: postgres.Place, session: asyncpg.Connection) -> None:
    await session.execute(LEASE.format("forebay."))
    [(level, message)] = of("leases", (await postgres.examine(place)).checks)
    assert (level, message.startswith("1 jobs are held by dead workers")) == (Level.WARN, True)


async def test_a_store_that_was_not_made_or_is_not_there_is_one_failure_with_the_next_step(url: str) -> None:
    checks = await examine(Settings(store=StoreSettings(url=f"{url}?schema=none", path=None), blobs=None))
    assert next(message for _, message in of("store", checks)).endswith("run `forebay store migrate` once")
    assert of("server", checks) != []
    away = await examine(
        Settings(store=StoreSettings(url="postgresql://forebay@127.0.0.1:1/none", path=None), blobs=None)
    )
    assert [level for level, _ in of("store", away)] == [Level.FAIL]


async def test_a_file_that_is_well_and_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "forebay.db"
    settings = Settings(store=StoreSettings(url="sqlite", path=path), blobs=tmp_path / "blobs")
    store = await sqlite.open_store(path, clock=SystemClock())
    well = await examine(settings)
    assert [check for check in well if check.level is not Level.OK] == []
    monkeypatch.setattr(file_health, "LONG_LOG_BYTES", -1)
    monkeypatch.setattr(file_health, "LOW_BYTES", 10**18)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(LEASE.format(""))
    os.utime(path, (0, time.time() + FUTURE_SECONDS))
    ill = {check.name: check.level for check in await examine(settings) if check.level is not Level.OK}
    await store.close()
    assert ill == dict.fromkeys(("disk", "log", "clock", "leases"), Level.WARN)


async def test_an_ordinary_role_sees_all_but_what_it_may_not(url: str, place: postgres.Place) -> None:
    server().run(
        "CREATE ROLE plain LOGIN CONNECTION LIMIT 5",
        "GRANT USAGE ON SCHEMA forebay TO plain",
        "GRANT SELECT ON ALL TABLES IN SCHEMA forebay TO plain",
        database="ill",
    )
    other = await asyncpg.connect(url)
    try:
        found = await postgres.examine(postgres.read_place(url.replace("forebay@", "plain@")))
    finally:
        await other.close()
        server().run("DROP OWNED BY plain", "DROP ROLE plain", database="ill")
    assert [check for check in found.checks if check.name == "store"] == []
    [(level, message)] = of("connections", found.checks)
    assert (level, "of 5 taken (of this role)" in message) == (Level.FAIL, True)
    assert any("GRANT pg_read_all_stats" in message for _, message in of("transactions", found.checks))


async def test_a_pooler_is_seen_whether_the_address_names_it_or_not(place: postgres.Place) -> None:
    async with TransactionPooler(server().port, user=USER, database="ill") as pooler:
        address = server().url("ill", port=pooler.port)
        named = await postgres.examine(postgres.read_place(f"{address}?pooler=transaction"))
        assert [level for level, _ in of("pooler", named.checks)] == [Level.OK]
        assert of("pooler", named.checks)[0][1].startswith("a pooler; ")
        unnamed = await examine(Settings(store=StoreSettings(url=address, path=None), blobs=None))
        assert any("pooler=transaction" in check.message for check in unnamed if check.level is not Level.OK)
