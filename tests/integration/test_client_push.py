"""``AsyncClient.jobs.as_completed`` on a socket: many jobs, a socket that is lost, and a way without any."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

import forebay
from forebay.client import pushed
from forebay.domain.errors import NotFound
from forebay.testing.cutting import CuttingProxy
from tests.integration.api_server import CHAT, Server, running_server

MANY = 150  # more than the connections of one client


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def submitted(server: Server, count: int) -> list[str]:
    return [(await server.submit(body={**CHAT, "seed": number}))["id"] for number in range(count)]


async def test_each_of_many_jobs_is_told_as_it_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "MOST_WATCHED", 40)  # so that they are watched in turns
    ids = await submitted(server, MANY)
    async with forebay.AsyncClient(server.url) as client:
        ends = client.jobs.as_completed(ids)
        for _ in ids:
            claimed = await server.hand.take()
            await server.hand.succeed(claimed)
            job = await anext(ends)
            assert (job.id, job.status) == (claimed.job.id, "succeeded")
        with pytest.raises(StopAsyncIteration):
            await anext(ends)


async def test_a_job_that_is_named_twice_is_told_once_and_an_unknown_one_is_not_found(server: Server) -> None:
    [job_id] = await submitted(server, 1)
    await server.hand.succeed(await server.hand.take())
    async with forebay.AsyncClient(server.url) as client:
        assert [job.id async for job in client.jobs.as_completed([job_id, job_id])] == [job_id]
        with pytest.raises(NotFound, match="job_none"):
            [job async for job in client.jobs.as_completed([job_id, "job_none"])]


async def test_a_lost_socket_is_opened_again_and_no_end_is_missed(server: Server) -> None:
    ids = await submitted(server, 3)
    port = urlsplit(server.url).port
    assert port is not None
    async with CuttingProxy(port) as proxy, forebay.AsyncClient(f"http://127.0.0.1:{proxy.port}") as client:
        ends = client.jobs.as_completed(ids)
        for number in range(3):
            following = asyncio.ensure_future(anext(ends))
            if number:
                await proxy.mend()  # breaks the connection off
            claimed = await server.hand.take()
            await server.hand.succeed(claimed)
            assert (await following).id == claimed.job.id


async def test_where_no_socket_passes_jobs_are_asked_for_one_by_one(server: Server) -> None:
    async def forward(request: web.Request) -> web.Response:
        if request.path == "/v1/ws":
            return web.Response(status=404)
        async with server.http.get(request.path_qs) as reply:
            return web.Response(body=await reply.read(), status=reply.status, content_type=reply.content_type)

    app = web.Application()
    app.router.add_get("/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ids = await submitted(server, 2)
    for _ in ids:
        await server.hand.succeed(await server.hand.take())
    try:
        async with forebay.AsyncClient(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            assert {job.id async for job in client.jobs.as_completed(ids)} == set(ids)
    finally:
        await runner.cleanup()
