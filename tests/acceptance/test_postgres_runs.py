"""`forebay run` from several machines on one PostgreSQL, and runs that are left to workers elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from forebay.testing.postgres import PostgresServer
from forebay.testing.processes import AT_ONCE, Running

from .faults_support import counted, hold, http, let_go, until
from .postgres_support import checked, looked_into, machine, made_server, made_store, until_ended
from .processes import started, started_worker

COUNT = 60
NAME_HOST = "import socket; socket.gethostname = lambda: {host!r}\n"  # a machine of its own, by a sitecustomize


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with made_server() as server:
        yield server


class House(NamedTuple):
    store: str
    mock: Running
    session: aiohttp.ClientSession

    async def calls(self) -> Any:
        return await counted(self.session, self.mock.address)


@asynccontextmanager
async def house(database: PostgresServer, folder: Path, latency_ms: int) -> AsyncIterator[House]:
    serving = started("mock-model", "--port", "0", "--latency-ms", str(latency_ms), folder=folder)
    async with serving as mock, http() as session:
        yield House(await made_store(database), mock, session)


def write_input(folder: Path, word: str) -> None:
    (folder / "in.jsonl").write_text("".join(f'{{"text": "{word} {number}"}}\n' for number in range(COUNT)))


def command(output: str, *more: str) -> tuple[str, ...]:
    return ("run", "in.jsonl", "-o", output, "--prompt", "{text}", "--model", "mock", *more)


def answers(path: Path) -> list[str]:
    return [json.loads(line)["output"] for line in path.read_text().splitlines()]


def expected(word: str) -> list[str]:
    return [f"echo: {word} {number}" for number in range(COUNT)]


async def test_runs_of_two_machines_at_once_each_get_their_own(database: PostgresServer, tmp_path: Path) -> None:
    async with house(database, tmp_path, 50) as here:
        folders = {word: machine(tmp_path / word, here.store, here.mock.address) for word in ("ant", "bee")}
        for word, folder in folders.items():
            write_input(folder, word)

        async def run(folder: Path) -> int:
            async with started(*command("out.jsonl"), folder=folder, ready=AT_ONCE) as running:
                return await running.ended()

        assert await asyncio.gather(*map(run, folders.values())) == [0, 0]
        for word, folder in folders.items():
            assert answers(folder / "out.jsonl") == expected(word)
        calls = await here.calls()
        assert calls["by_outcome"] == {"200": 2 * COUNT}
        await checked(here.store, [], calls)


async def test_a_run_of_another_machine_at_the_same_path_is_left_alone(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path, 5) as here:
        folder = machine(tmp_path / "data", here.store, here.mock.address)
        first, second = (_named(tmp_path, host) for host in ("ant", "bee"))
        write_input(folder, "ant")
        async with started_worker(folder=folder):
            await hold(here.session, here.mock.address)
            left = command("out.jsonl", "--detach")
            async with started(*left, folder=folder, ready=AT_ONCE, is_fresh=True, PYTHONPATH=first) as one:
                assert await one.ended() == 0, await one.said()
            await until(lambda: _has_calls(here))
            write_input(folder, "bee")  # what stands at this path on the other machine
            other = started(*command("out.jsonl"), folder=folder, ready=AT_ONCE, is_fresh=True, PYTHONPATH=second)
            async with other as two:
                await until(lambda: _says(two, "ant runs other requests"))
                await let_go(here.session, here.mock.address)
                assert await two.ended() == 0, await two.said()
            assert answers(folder / "out.jsonl") == expected("bee")
            async with looked_into(here.store) as inside:
                await until_ended(inside)
        assert (await here.calls())["by_outcome"] == {"200": 2 * COUNT}, "neither was cancelled"


async def test_a_run_that_was_left_to_workers_elsewhere_is_fetched_by_the_same_command(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path, 5) as here:
        folder = machine(tmp_path / "desk", here.store, here.mock.address)
        write_input(folder, "ant")
        async with started(*command("out.jsonl", "--detach"), folder=folder, ready=AT_ONCE) as leaving:
            assert await leaving.ended() == 0, await leaving.said()
        assert (await here.calls())["total"] == 0
        workers = machine(tmp_path / "rack", here.store, here.mock.address)
        async with started_worker(folder=workers), looked_into(here.store) as inside:
            await until_ended(inside)
        async with started(*command("out.jsonl"), folder=folder, ready=AT_ONCE) as fetching:
            assert await fetching.ended() == 0, await fetching.said()
        assert answers(folder / "out.jsonl") == expected("ant")
        assert (await here.calls())["by_outcome"] == {"200": COUNT}, "nothing was asked again"


def _named(folder: Path, host: str) -> str:
    """What makes a process think that its machine has this name."""
    place = folder / f"host-{host}"
    place.mkdir()
    (place / "sitecustomize.py").write_text(NAME_HOST.format(host=host))
    return str(place)


async def _says(running: Running, text: str) -> bool:
    return any(text in line for line in running.log)


async def _has_calls(here: House) -> bool:
    return bool((await here.calls())["in_flight"] > 0)
