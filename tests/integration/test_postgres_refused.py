"""A database that lets a running process in no more, for a while: a password is changed, a failover is half done."""

import asyncio
from collections.abc import Iterator

import pytest

from forebay.domain.change import Want, Worker
from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.stores.postgres import migrate, open_store, read_place
from forebay.testing.postgres import PostgresServer, postgres_server

HINT = r"SELECT pg_notify('forebay_forebay', E'someone\nready:q')"
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of its own, which asks for a password."""
    with postgres_server() as server:
        server.run("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'right'")
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text("host all keeper 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        server.run("SELECT pg_reload_conf()")
        yield server


async def test_who_is_refused_while_it_runs_is_told_to_try_again_and_goes_on_when_it_is_let_in(
    server: PostgresServer,
) -> None:
    url = server.url().replace("forebay@", "keeper:right@") + "?timeout=3"
    await migrate(read_place(url))
    store = await open_store(url)
    worker = Worker(id="w")
    verbs = [
        lambda: store.jobs.renew(worker),
        lambda: store.jobs.claim(worker, [Want(queue="q", lane="q", slots=1, cap=1)]),
        lambda: store.jobs.get(None, ["job_x"]),
    ]
    watch = store.jobs.watch(["ready:q"])
    for verb in verbs:
        await verb()
    server.run("ALTER ROLE keeper PASSWORD 'other'", END_ALL)
    for verb in verbs:
        with pytest.raises(StoreUnavailable, match="password"):
            await verb()
    with pytest.raises(StoreRefused, match="password"):  # who starts now is told for good
        await open_store(url)
    server.run("ALTER ROLE keeper PASSWORD 'right'", END_ALL)
    async with asyncio.timeout(30):
        for verb in verbs:
            await verb()
        while await watch.next(0.2) != {"ready:q"}:  # the listener comes back at its next look
            await asyncio.to_thread(server.run, HINT)
    watch.close()
    await store.close()
