"""Two API servers and workers elsewhere, on one PostgreSQL: who waits on one gets what another committed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from forebay.testing.postgres import PostgresServer
from forebay.testing.processes import Running

from .faults_support import counted, get, hold, http, let_go, order, until
from .faults_support import until_in_flight as in_flight
from .postgres_support import checked, looked_into, machine, made_server, made_store, until_ended
from .processes import started, started_worker

SLOW_MS = 300
LEASE_SECONDS = 5  # a busy machine renews within it
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with made_server() as server:
        yield server


@dataclass(frozen=True)
class House:
    """Servers A and B, and a folder for each machine of workers."""

    a: Running
    b: Running
    mock: Running
    session: aiohttp.ClientSession
    store: str
    folder: Path
    lease: float

    async def post(self, url: str, **options: Any) -> tuple[int, Any]:
        async with self.session.post(url, **options) as reply:
            return reply.status, await reply.json()

    async def calls(self) -> Any:
        return await counted(self.session, self.mock.address)

    async def hold(self, *, after: int = 0) -> None:
        await hold(self.session, self.mock.address, after=after)

    async def let_go(self) -> None:
        await let_go(self.session, self.mock.address)

    async def slow_down(self, latency_ms: float) -> None:
        await self.post(f"{self.mock.address.removesuffix('/v1')}/mock/options", json={"latency_ms": latency_ms})

    def worker(self, name: str, *arguments: str) -> Any:
        folder = machine(self.folder / name, self.store, self.mock.address, lease=self.lease)
        return started_worker(*arguments, folder=folder)


@asynccontextmanager
async def house(
    database: PostgresServer, folder: Path, parameters: str = "", *, lease: float = 30
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        mock = await stack.enter_async_context(started("mock-model", "--port", "0", folder=folder))
        store = await made_store(database, parameters)
        servers: list[Running] = []
        for name in "ab":
            serving = started("serve", "--no-worker", "--port", "0", folder=machine(folder / name, store, mock.address))
            servers.append(await stack.enter_async_context(serving))
        session = await stack.enter_async_context(http())
        yield House(*servers, mock, session, store, folder, lease)


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {**order(text)["body"], **more}


@pytest.mark.parametrize("listen", ["", "&listen=off"], ids=["hinted", "polling"])
async def test_who_waits_on_one_server_gets_what_a_worker_elsewhere_commits(
    database: PostgresServer, tmp_path: Path, listen: str
) -> None:
    async with house(database, tmp_path, listen) as here, here.worker("c"):
        await here.slow_down(SLOW_MS)
        _, made = await here.post(f"{here.a.address}/v1/jobs", json=order("polled"))
        polled, awaited, streamed = await asyncio.gather(
            get(here.session, f"{here.a.address}/v1/jobs/{made['id']}?wait=60"),
            here.post(here.a.address + CHAT, json=asked("awaited")),
            _streamed(here, "streamed"),
        )
        assert polled["status"] == "succeeded", "the first answer to a long poll is the last state"
        assert awaited[0] == 200
        assert awaited[1]["choices"][0]["message"]["content"] == "echo: awaited"
        assert streamed == "echo: streamed"
        assert (await get(here.session, f"{here.b.address}/v1/jobs/{made['id']}"))["result"] == polled["result"]
        await checked(here.store, [made["id"]], await here.calls())


async def test_a_batch_that_one_server_made_is_read_on_the_other_while_it_runs(
    database: PostgresServer, tmp_path: Path
) -> None:
    count = 40
    async with house(database, tmp_path) as here, here.worker("c"):
        await here.hold(after=count // 2)
        batch_id = await _batch(here, here.a, count)
        parts: list[str] = []

        async def is_whole() -> bool:
            batch = await get(here.session, f"{here.b.address}/v1/batches/{batch_id}")
            if batch["output_file_id"] is not None:
                parts.append(await _text(here, f"/v1/files/{batch['output_file_id']}/content?offset={_lines(parts)}"))
            if _lines(parts):
                await here.let_go()
            return bool(batch["status"] == "completed") and _lines(parts) == count

        await until(is_whole)
        rows = [json.loads(line) for line in "".join(parts).splitlines()]
        assert {row["custom_id"] for row in rows} == {str(number) for number in range(count)}
        assert len([part for part in parts if part]) > 1, "partial output was there before its end"
        await checked(here.store, [], await here.calls())


async def test_a_key_that_is_told_to_both_servers_at_once_makes_one_thing(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path) as here, here.worker("c"):
        both = (here.a.address, here.b.address)
        for number in range(10):
            body = order(f"once {number}")
            replies = await asyncio.gather(*(here.post(f"{one}/v1/jobs", json=body) for one in both))
            assert len({view["id"] for _, view in replies}) == 1
        headers = {"idempotency-key": "the chat"}
        replies = await asyncio.gather(*(here.post(one + CHAT, json=asked("x"), headers=headers) for one in both))
        assert replies[0] == replies[1]
        other = await here.post(here.b.address + CHAT, json=asked("y"), headers=headers)
        assert other[0] == 409
        files = await asyncio.gather(*(_upload(here, one, b"{}", "the file") for one in (here.a, here.b)))
        assert files[0] == files[1]
        batches = await asyncio.gather(*(_batch(here, one, 3, "the batch", files[0]) for one in (here.a, here.b)))
        assert batches[0] == batches[1]
        assert (await here.calls())["by_outcome"] == {"200": 11}


async def test_a_server_without_workers_that_drains_lets_its_clients_have_calls_under_way_elsewhere(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path) as here:
        await here.hold()
        async with here.worker("c", "--targets", "mock"):
            running = asyncio.create_task(here.post(here.a.address + CHAT, json=asked("running")))
            _, made = await here.post(f"{here.b.address}/v1/jobs", json=order("polled"))
            polled = asyncio.create_task(get(here.session, f"{here.a.address}/v1/jobs/{made['id']}?wait=60"))
            idle = asyncio.create_task(_asked_like_an_sdk(here, here.a, retries=0))
            await in_flight(here.session, here.mock.address, 2)
            await until(lambda: _has_jobs(here, 3))
            here.a.send(signal.SIGTERM)
            assert (await idle)[0] == 503, "its job does not run: nobody here serves it"
            assert not running.done()
            await here.let_go()
            assert (await running)[0] == 200
            assert (await polled)["status"] == "succeeded"
            assert await here.a.ended() == 0
        async with here.worker("d"):
            status, again = await _asked_like_an_sdk(here, here.b, retries=1)
            assert (status, again["choices"][0]["message"]["content"]) == (200, "echo: idle")
        assert (await here.calls())["by_outcome"] == {"200": 3}, "whoever asks the other server again joins the job"


async def test_a_worker_that_drains_hands_back_and_another_machine_does_the_rest(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path) as here:
        await here.hold()
        lines = "\n".join(json.dumps(order(f"job {number}.")) for number in range(40))
        async with here.worker("c") as first:
            async with here.session.post(f"{here.a.address}/v1/jobs/bulk", data=lines) as reply:
                ids = [json.loads(line)["id"] for line in (await reply.text()).splitlines()]
            await in_flight(here.session, here.mock.address, 8)
            async with here.worker("d"):
                first.send(signal.SIGTERM)
                await here.let_go()
                assert await first.ended() == 0
                async with looked_into(here.store) as inside:
                    await until_ended(inside)
        jobs = await checked(here.store, ids, await here.calls())
        assert {attempt.outcome.value for job in jobs.values() for attempt in job.attempts} == {"succeeded"}
        assert all(len(job.attempts) == 1 for job in jobs.values())


async def test_a_worker_that_stood_still_beyond_its_lease_changes_nothing(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with house(database, tmp_path, lease=LEASE_SECONDS) as here, here.worker("c") as stale:
        await here.hold()
        _, made = await here.post(f"{here.a.address}/v1/jobs", json=order("stopped"))
        await in_flight(here.session, here.mock.address, 1)
        stale.send(signal.SIGSTOP)
        await here.let_go()
        async with here.worker("d"):
            polled = await get(here.session, f"{here.a.address}/v1/jobs/{made['id']}?wait=60")
            assert polled["status"] == "succeeded"
            stale.send(signal.SIGCONT)
            await until(lambda: _says(stale.log, "leases_lost"))
            assert await stale.terminate() == 0
        again = await get(here.session, f"{here.b.address}/v1/jobs/{made['id']}")
        unchanging = ("status", "result", "finished_at", "attempt_count")
        assert [again[name] for name in unchanging] == [polled[name] for name in unchanging]
        [job] = (await checked(here.store, [made["id"]], await here.calls())).values()
        assert len(job.attempts) == 2
        assert job.attempts[0].fence < job.attempts[1].fence


async def _streamed(here: House, text: str) -> str:
    said = ""
    async with here.session.post(here.a.address + CHAT, json=asked(text, stream=True)) as reply:
        assert reply.status == 200
        async for raw in reply.content:
            line = raw.decode().strip()
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: "))["choices"]
                said += choices[0]["delta"].get("content") or "" if choices else ""
    return said


async def _upload(here: House, server: Running, data: bytes, key: str = "") -> str:
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", data, filename="lines.jsonl")
    headers = {"idempotency-key": key} if key else {}
    status, file = await here.post(f"{server.address}/v1/files", data=form, headers=headers)
    assert status == 200, file
    return str(file["id"])


async def _batch(here: House, server: Running, count: int, key: str = "", file_id: str = "") -> str:
    lines = [{"custom_id": str(n), "method": "POST", "url": CHAT, "body": asked(f"line {n}")} for n in range(count)]
    file_id = file_id or await _upload(here, server, "\n".join(map(json.dumps, lines)).encode())
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    headers = {"idempotency-key": key} if key else {}
    status, batch = await here.post(f"{server.address}/v1/batches", json=body, headers=headers)
    assert status == 200, batch
    return str(batch["id"])


async def _text(here: House, path: str) -> str:
    async with here.session.get(here.b.address + path) as reply:
        return await reply.text() if reply.status == 200 else ""


def _lines(parts: list[str]) -> int:
    return sum(len(part.splitlines()) for part in parts)


async def _has_jobs(here: House, count: int) -> bool:
    return len((await get(here.session, f"{here.b.address}/v1/jobs"))["data"]) == count


async def _asked_like_an_sdk(here: House, server: Running, *, retries: int) -> tuple[int, Any]:
    headers = {"x-stainless-retry-count": str(retries)}
    return await here.post(server.address + CHAT, json=asked("idle", model="other"), headers=headers)


async def _says(log: list[str], event: str) -> bool:
    return any(event in line for line in log)
