"""Each named crash point once: the process dies there, and nothing is lost, done twice, or left standing."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp

from forebay.testing.crashing import POINTS, Backing
from forebay.testing.ports import free_port
from forebay.testing.processes import AT_ONCE, LONGEST_SECONDS, Running
from forebay.testing.slots import CRASHING, KILLED, OF_RUNS

from .faults_support import checked, configure, counted, http, order, until_ended
from .processes import start, started

RECORDS = 5
POKE_SECONDS = 0.1
OF_DRAINS = ("retire.",)
OF_STARTS = ("store.", "renew.", "recover.", "claim.", "transaction.")  # a server passes them before it serves anyone
ONCE = "accepted"  # there since the server's client had a job accepted
TWICE = {"output.synced": 2}  # the second time it is renamed already
IN_SERVERS = [name for name in POINTS if not name.startswith(OF_RUNS)]
IN_RUNS = [*(name for name in POINTS if name.startswith(OF_RUNS)), "blob.written", "add.asked", "segment.written"]


class Client:
    """Does everything that a server can be asked for, again and again, and remembers what was acknowledged.

    ``once``: where it leaves a file as soon as a job is accepted.
    """

    def __init__(self, session: aiohttp.ClientSession, server: str, once: Path) -> None:
        self.once = once
        self.accepted: list[str] = []
        self._session = session
        self._server = server
        self._number = 0

    async def poke(self) -> None:
        """One round; what can't be done now is left."""
        self._number += 1
        name = f"job {self._number:05d}."
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            job = await self._post("/v1/jobs", json=order(name))
            if job is not None:
                self.accepted.append(job["id"])
                self.once.touch()
            dead = await self._post("/v1/jobs", json=order(f"{name} [[fault:422]]"))
            for verb, one in (("cancel", job), ("retry", dead)):
                if one is not None:
                    await self._get(f"/v1/jobs/{one['id']}?wait=1" if verb == "retry" else "/livez")
                    await self._post(f"/v1/jobs/{one['id']}/{verb}")
            await self._post("/v1/chat/completions", json={**order(name)["body"], "stream": True})
            await self._batch(name)

    async def _batch(self, name: str) -> None:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        lines = [
            {"custom_id": f"{n}", "method": "POST", "url": "/v1/chat/completions", **order(name)} for n in range(4)
        ]
        form.add_field("file", "\n".join(map(json.dumps, lines)), filename="lines.jsonl")
        file = await self._post("/v1/files", data=form)
        if file is not None:
            body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            await self._post("/v1/batches", json=body)

    async def _post(self, path: str, **options: Any) -> Any:
        async with self._session.post(self._server + path, **options) as reply:
            text = await reply.text()
            assert reply.status < 500 or reply.status == 503, (path, text)
            return json.loads(text) if reply.status < 300 and text.startswith("{") else None

    async def _get(self, path: str) -> None:
        async with self._session.get(self._server + path) as reply:
            await reply.read()


async def test_a_server_that_dies_at_any_point_loses_nothing(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "5", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, lease=2)
        port = free_port()
        client = Client(session, f"http://127.0.0.1:{port}", tmp_path / ONCE)
        for point in IN_SERVERS:
            async with armed(point, ("serve", "--port", str(port)), tmp_path) as server:
                await die(server, client, point)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, client.accepted, await counted(session, mock.address))
        assert len(jobs) >= sum(not point.startswith(OF_STARTS) for point in IN_SERVERS)


async def test_a_run_that_dies_at_any_point_is_done_by_the_same_command(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, lease=2)
        (tmp_path / "in.jsonl").write_text("".join(f'{{"text": "r{number}"}}\n' for number in range(RECORDS)))
        for place, point in enumerate(IN_RUNS):
            output = f"out-{place}.jsonl"
            command = ("run", "in.jsonl", "-o", output, "--prompt", f"{place} {{text}}", "--model", "mock")
            async with armed(point, command, tmp_path) as run:
                assert await run.ended() == KILLED, (point, await run.said())
            async with started(*command, folder=tmp_path, ready=AT_ONCE) as again:
                assert await again.ended() == 0, (point, await again.said())
            rows = [json.loads(line) for line in (tmp_path / output).read_text().splitlines()]
            assert rows == [{"text": f"r{n}", "output": f"echo: {place} r{n}"} for n in range(RECORDS)], point
            assert [name for name in os.listdir(tmp_path) if output in name] == [output], point
        await checked(tmp_path, [], calls := await counted(session, mock.address))
        assert RECORDS * len(IN_RUNS) <= calls["total"] <= RECORDS * (len(IN_RUNS) + 2), "paid records are kept"


def test_every_point_is_tried() -> None:
    assert {*IN_SERVERS, *IN_RUNS} == set(POINTS)


@contextlib.asynccontextmanager
async def armed(point: str, command: Iterable[str], folder: Path, backing: Backing = Backing.SQLITE) -> Any:
    """The command, in a process that dies there; a server once it has accepted work, or else as it starts."""
    hit = TWICE.get(point, 1)
    (folder / ONCE).unlink(missing_ok=True)
    is_late = "serve" in command and not point.startswith(OF_STARTS)
    once = ("--once", ONCE) if is_late else ()
    arming = ("--at", point, "--hit", str(hit), "--store", backing, *once, "--", *command)
    running = await start(*arming, folder=folder, module=CRASHING, ready=AT_ONCE)
    try:
        yield running
    finally:
        await running.kill()


async def die(server: Running, client: Client, point: str) -> None:
    """Pokes until the point was reached; nobody else kills it."""
    async with asyncio.timeout(LONGEST_SECONDS):
        ending = asyncio.create_task(server.process.wait())
        is_asked = False
        while not ending.done():
            await client.poke()
            if point.startswith(OF_DRAINS) and client.once.exists() and not is_asked:
                server.send(signal.SIGTERM)
                is_asked = True
            await asyncio.wait({ending}, timeout=POKE_SECONDS)
        assert ending.result() == KILLED, (point, await server.said())
    assert client.once.exists() or point.startswith(OF_STARTS), point
