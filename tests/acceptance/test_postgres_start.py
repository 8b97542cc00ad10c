"""What a person sees who points `store:` at PostgreSQL: one sentence when it can't be, patience when it can later."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from forebay.domain.job import Status
from forebay.testing.postgres import PostgresServer
from forebay.testing.processes import AT_ONCE, WORKER

from .faults_support import counted, get, http, order, submit, until
from .postgres_support import looked_into, machine, made_server, made_store, until_ended
from .processes import start, started, started_worker

WAITING = re.compile("waiting for it")
NO_MODEL = "http://127.0.0.1:9/v1"
SERVE, WORK = ("serve", "--port", "0"), ("worker",)
RUN = ("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{text}", "--model", "mock")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with made_server() as server:
        yield server


async def told(folder: Path, *command: str) -> tuple[int, list[str]]:
    """How a command that ends by itself ends, and what it said."""
    (folder / "in.jsonl").write_text('{"text": "a"}\n')
    async with started(*command, folder=folder, ready=AT_ONCE) as running:
        return await running.ended(), await running.said()


async def test_a_store_that_was_not_migrated_is_refused_in_a_sentence_that_names_the_command(
    database: PostgresServer, tmp_path: Path
) -> None:
    machine(tmp_path, database.url() + "?schema=unmade", NO_MODEL)
    for command in (SERVE, WORK, RUN):
        code, said = await told(tmp_path, *command)
        assert (code, len(said)) == (2, 1), said
        assert "forebay store migrate" in said[0]
    assert (await told(tmp_path, "store", "migrate"))[0] == 0
    assert (await told(tmp_path, "store", "migrate", "--check"))[0] == 0


async def test_a_wrong_name_or_password_is_told_and_not_waited_for(database: PostgresServer, tmp_path: Path) -> None:
    store = await made_store(database)
    database.run("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    hba = database.folder / "data" / "pg_hba.conf"
    hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
    database.run("SELECT pg_reload_conf()")
    wrong = {
        "password": store.replace("forebay@", "guarded:wrong@"),
        "permission": store.replace("forebay@", "guarded:right@"),
        "nosuch": database.url("nosuch"),
    }
    for word, address in wrong.items():
        machine(tmp_path, address, NO_MODEL)
        for command in (SERVE, WORK, ("store", "check")):
            code, said = await told(tmp_path, *command)
            assert (code, len(said)) == (2, 1), said
            assert word in said[0]
            assert "wrong@" not in said[0]
            assert "right@" not in said[0]


async def test_servers_and_workers_wait_for_a_database_that_comes_later(tmp_path: Path) -> None:
    with made_server() as database:
        store = await made_store(database)
        machine(tmp_path, store, NO_MODEL)
        database.stop()
        waiting = [await start(*command, folder=tmp_path, ready=WAITING) for command in (SERVE, WORK, WORK)]
        server, worker, leaving = waiting
        leaving.send(signal.SIGTERM)
        assert await leaving.ended() == 0
        assert (await told(tmp_path, "store", "check"))[0] == 1
        await asyncio.to_thread(database.start)
        await until(lambda: _says(server.log, "forebay at http"))
        await until(lambda: _says(worker.log, WORKER.pattern))
        assert next(line for line in server.log if "waiting" in line).startswith("forebay: postgresql://")
        assert [await one.terminate() for one in (server, worker)] == [0, 0]


async def test_a_run_waits_for_a_database_that_restarts_under_it_and_pays_nothing_twice(tmp_path: Path) -> None:
    count = 40
    with made_server() as database:
        async with (
            started("mock-model", "--port", "0", "--latency-ms", "100", folder=tmp_path) as mock,
            http() as session,
        ):
            machine(tmp_path, await made_store(database), mock.address)
            (tmp_path / "many.jsonl").write_text("".join(f'{{"text": "r{number}"}}\n' for number in range(count)))
            command = ("run", "many.jsonl", "-o", "out.jsonl", "--prompt", "{text}", "--model", "mock")
            async with started(*command, folder=tmp_path, ready=AT_ONCE) as run:
                await until(lambda: _has_calls(session, mock.address, 8))
                await asyncio.to_thread(database.stop, is_immediate=True)
                await asyncio.to_thread(database.start)
                assert await run.ended() == 0, await run.said()
            assert len((tmp_path / "out.jsonl").read_text().splitlines()) == count
            assert (await counted(session, mock.address))["by_outcome"] == {"200": count}


async def test_one_file_of_settings_makes_servers_with_many_workers_and_workers_of_chosen_targets(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        store = await made_store(database)
        machine(tmp_path, store, mock.address)
        async with started(*SERVE, "--workers", "2", folder=tmp_path) as server, looked_into(store) as inside:

            async def are_there() -> bool:
                return len(await inside.jobs.workers()) == 2

            await until(are_there)
            ids = await submit(session, server.address, [order(f"job {number}.") for number in range(50)])
            await until_ended(inside)
            assert {job.status for job in await inside.jobs.get(None, ids) if job} == {Status.SUCCEEDED}
            assert await server.terminate() == 0
            async with started_worker("--targets", "other", folder=tmp_path) as worker:
                assert worker.log[-1].endswith("serves other")
        code, said = await told(tmp_path, "worker", "--targets", "nobody")
        assert (code, "No target is named 'nobody'" in said[0]) == (2, True)


async def test_a_store_keeps_to_the_blobs_that_it_was_first_opened_with(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        store = await made_store(database)
        machine(tmp_path, store, mock.address)
        async with started(*SERVE, folder=tmp_path) as server:
            [job_id] = await submit(session, server.address, [{**order("x" * 200_000), "idempotency_key": "large"}])
            view = await get(session, f"{server.address}/v1/jobs/{job_id}?wait=60")
            assert view["status"] == "succeeded"
        assert "blobs" not in " ".join(os.listdir(tmp_path)), (
            "a large body is in the database, unless a folder is named"
        )
        machine(tmp_path, store, mock.address, more=f"blobs: file://{tmp_path}/elsewhere\n")
        code, said = await told(tmp_path, *SERVE)
        assert (code, len(said), "`blobs:` names" in said[0]) == (2, 1, True), said


async def _says(log: list[str], pattern: str) -> bool:
    return any(re.search(pattern, line) for line in log)


async def _has_calls(session: aiohttp.ClientSession, mock: str, calls: int) -> bool:
    return bool((await counted(session, mock))["total"] >= calls)
