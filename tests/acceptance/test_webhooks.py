"""Webhooks of real processes: a server that is killed in mid-delivery, and the command that shows the secret."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from forebay.cli.main import execute
from forebay.testing.processes import LONGEST_SECONDS

from .faults_support import configure, http, order, submit
from .processes import started

ALLOWED = "127.0.0.0/8"


class Receiver:
    """Keeps what arrives. What is held is never answered."""

    def __init__(self) -> None:
        self.url = ""
        self.is_held = True
        self.got: asyncio.Queue[tuple[dict[str, str], str]] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.put_nowait((headers, await request.text()))
        if self.is_held:
            await asyncio.Event().wait()  # until its sender is gone
        return web.Response(status=204)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    receiver.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def secret_of(session: aiohttp.ClientSession, server: str) -> str:
    async with session.get(f"{server}/v1/webhook_secret") as reply:
        return str((await reply.json())["signing_secret"])


async def test_a_delivery_under_way_when_its_server_is_killed_comes_again_as_the_same_event(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session, receiving() as hook:
        configure(tmp_path, mock.address)
        serve = ("serve", "--port", "0")
        async with started(*serve, folder=tmp_path, FOREBAY_WEBHOOK_ALLOW=ALLOWED) as server:
            [job_id] = await submit(session, server.address, [order("one", notify={"webhook": hook.url})])
            first, body = await asyncio.wait_for(hook.got.get(), LONGEST_SECONDS)
            secret = await secret_of(session, server.address)
            await server.kill()
        hook.is_held = False
        async with started(*serve, folder=tmp_path, FOREBAY_WEBHOOK_ALLOW=ALLOWED) as server:
            again, same = await asyncio.wait_for(hook.got.get(), LONGEST_SECONDS)
            assert await secret_of(session, server.address) == secret
    assert (again["webhook-id"], same) == (first["webhook-id"], body)
    assert Webhook(secret).verify(same, again)["data"] == {"id": job_id}


def test_the_command_shows_the_secret_and_rotates_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith("FOREBAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def said(*options: str, code: int = 0) -> str:
        assert execute(("keys", "webhook-secret", *options)) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out.strip()

    first = said()
    assert first.startswith("whsec_")
    assert said() == first
    assert json.loads(said("--json"))["signing_secret"] == first
    assert said("--tenant", "bank") != first
    rotated = said("--rotate", "--keep-old")
    assert rotated not in {first, ""}
    assert said() == rotated
    assert "--keep-old goes with --rotate" in said("--keep-old", code=2)
    monkeypatch.setenv("FOREBAY_SECRET_KEY", "another key of the installation")
    assert said() != rotated
