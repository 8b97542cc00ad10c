"""A server that dies under sockets, event streams and webhooks: every result arrives as promised all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from .faults_support import checked, configure, counted, hold, http, let_go, order, submit, until, until_in_flight
from .processes import Running, start, started

CLIENTS = 3
JOBS = 12  # of each client
CALLS = 4  # at a time
KILLS = 2
AWAY = (aiohttp.ClientError, OSError)  # what a client sees of a server that dies


@dataclass
class Site:
    """Where the server is now; None while it is dead."""

    address: str | None = None
    has_come: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, address: str | None) -> None:
        self.address = address
        self.has_come.set() if address else self.has_come.clear()

    async def found(self) -> str:
        await self.has_come.wait()
        assert self.address is not None
        return self.address


class Client:
    """Submits its jobs on a socket, and comes again until it has all of their results."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, name: str) -> None:
        self._site = site
        self._session = session
        self.orders = {f"{name}-{number}": order(f"{name}-{number}") for number in range(JOBS)}
        self.accepted: dict[str, str] = {}  # ids by name
        self.results: dict[str, dict[str, Any]] = {}  # by id
        self.connections = 0

    async def run(self) -> None:
        while len(self.results) < JOBS:
            address = await self._site.found()
            try:
                async with self._session.ws_connect(f"{address}/v1/ws") as socket:
                    self.connections += 1
                    await self._follow(socket)
            except AWAY:
                await asyncio.sleep(0.02)  # it is dead, and not yet known to be

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        missing = [job_id for job_id in self.accepted.values() if job_id not in self.results]
        if missing:
            await socket.send_json({"action": "watch", "ids": missing})
        for name, job in self.orders.items():
            if name not in self.accepted:
                await socket.send_json({"action": "submit", "ref": name, "job": job})
        async for message in socket:
            self._take(json.loads(message.data))
            if len(self.results) == JOBS:
                return

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "accepted":
                known = self.accepted.setdefault(message["ref"], message["id"])
                assert known == message["id"], "one key, two jobs"
            case "job":
                job = message["job"]
                assert job["id"] in self.accepted.values(), "`accepted` comes first"
                if job["status"] in {"succeeded", "failed", "cancelled"}:
                    self.results[job["id"]] = job
            case _:
                raise AssertionError(message)


class Follower:
    """Follows one job's events, and comes again with its last id until it is sent away."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, job_id: str) -> None:
        self._site = site
        self._session = session
        self.job_id = job_id
        self.told: list[tuple[int, str]] = []

    async def run(self) -> None:
        status = 0
        while status != 204:
            address = await self._site.found()
            headers = {"last-event-id": str(self.told[-1][0])} if self.told else {}
            try:
                async with self._session.get(f"{address}/v1/jobs/{self.job_id}/events", headers=headers) as reply:
                    status = reply.status
                    assert status in {200, 204}, await reply.text()
                    await self._read(reply.content)
            except AWAY:
                await asyncio.sleep(0.02)

    async def _read(self, lines: aiohttp.StreamReader) -> None:
        event: dict[str, str] = {}
        async for line in lines:
            name, colon, value = line.decode().rstrip("\n").partition(": ")
            if colon and name:
                event[name] = value
            elif not name and event:  # a blank line: the event is whole
                self.told.append((int(event["id"]), event["event"]))
                event = {}


async def test_every_result_arrives_though_the_server_is_killed_under_its_sockets_and_streams(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CALLS)
        await hold(session, mock.address)
        site = Site()
        clients = [Client(site, session, f"client{number}") for number in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
            server, followers = await _killed_again_and_again(tmp_path, session, mock.address, site, clients)
            for follower in followers:
                group.create_task(follower.run())
            await server.kill()
            site.move(None)
            await let_go(session, mock.address)
            server = await _start(tmp_path, site)
        await server.kill()
        for client in clients:
            assert client.connections > KILLS
            assert set(client.accepted) == set(client.orders)
            assert set(client.results) == set(client.accepted.values())
            for name, job_id in client.accepted.items():
                [choice] = client.results[job_id]["result"]["body"]["choices"]
                assert choice["message"]["content"] == f"echo: {name}"
        for follower in followers:
            ids = [number for number, _ in follower.told]
            assert ids == sorted(set(ids)), "no event twice, none out of turn"
            assert [what for _, what in follower.told if what in {"job.queued", "job.succeeded"}] == [
                "job.queued",
                "job.succeeded",
            ]
        accepted = [job_id for client in clients for job_id in client.accepted.values()]
        await checked(tmp_path, accepted, await counted(session, mock.address))


class Receiver:
    """A client's webhook: it answers nothing until it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.begun: list[tuple[str, str]] = []  # (webhook-id, job), of every delivery
        self.answered: set[int] = set()  # places in `begun`

    async def receive(self, request: web.Request) -> web.Response:
        event = await request.json()
        delivery = (request.headers["webhook-id"], event["data"]["id"])
        assert event["type"] == "job.succeeded"
        place = len(self.begun)
        self.begun.append(delivery)
        await self.may_answer.wait()
        self.answered.add(place)
        return web.Response()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self.receive)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        finally:
            self.may_answer.set()
            await runner.cleanup()


async def test_every_delivery_arrives_though_the_server_is_killed_under_it(tmp_path: Path) -> None:
    receiver = Receiver()
    async with (
        receiver.listening() as hook,
        started("mock-model", "--port", "0", folder=tmp_path) as mock,
        http() as session,
    ):
        configure(tmp_path, mock.address, concurrency=CALLS)
        with (tmp_path / "forebay.yaml").open("a") as file:
            file.write('webhook_allow: ["127.0.0.0/8"]\n')
        server = await start("serve", "--port", "0", folder=tmp_path)
        ids = await submit(session, server.address, [order(f"n{n}", notify={"webhook": hook}) for n in range(JOBS)])
        await until(partial(_are_begun, receiver, 1))
        await server.kill()
        under_way = len(receiver.begun)
        receiver.may_answer.set()
        server = await start("serve", "--port", "0", folder=tmp_path)
        await until(partial(_are_answered, receiver, ids, under_way))
        await server.kill()
        again = set(receiver.begun[under_way:])
        assert set(receiver.begun[:under_way]) <= again, "the same event, under the same id, once more"
        assert len({webhook_id for webhook_id, _ in receiver.begun}) == len(ids), "one event a job"
        await checked(tmp_path, ids, is_over=False)


async def _are_begun(receiver: Receiver, count: int) -> bool:
    return len(receiver.begun) >= count


async def _are_answered(receiver: Receiver, ids: list[str], first: int) -> bool:
    """Whether all were told after the first server's death."""
    return set(ids) <= {receiver.begun[place][1] for place in receiver.answered if place >= first}


async def _killed_again_and_again(
    folder: Path, session: aiohttp.ClientSession, mock: str, site: Site, clients: list[Client]
) -> tuple[Running, list[Follower]]:
    """Each time calls are in flight the server dies and comes again. Returns the last one, which is being followed."""
    for number in range(KILLS):
        server = await _start(folder, site)
        await until(partial(_are_accepted, clients, number + 1))
        await until_in_flight(session, mock, CALLS)
        await server.kill()
        site.move(None)
    server = await _start(folder, site)
    followers = [Follower(site, session, next(iter(client.accepted.values()))) for client in clients]
    following = [asyncio.create_task(follower.run()) for follower in followers]
    await until(partial(_have_heard, followers, following))
    for task in following:  # the clients break off; they come again with their last ids
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return server, followers


async def _start(folder: Path, site: Site) -> Running:
    server = await start("serve", "--port", "0", folder=folder)
    site.move(server.address)
    return server


async def _are_accepted(clients: list[Client], connections: int) -> bool:
    return all(len(client.accepted) == JOBS and client.connections >= connections for client in clients)


async def _have_heard(followers: list[Follower], following: list["asyncio.Task[None]"]) -> bool:
    for task in following:
        if task.done():
            task.result()  # raises what went wrong
    return all(follower.told for follower in followers)
