"""Where the server listens, and how it begins and ends."""

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from forebay.api.server import serve
from forebay.app import System
from forebay.domain.errors import ConfigurationError
from forebay.settings import Settings, StoreSettings
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget


async def run(folder: Path, host: str, port: int = 0) -> str:
    """Serves until it is ready, then stops it; returns the URL it told."""
    async with open_services(folder, [ScriptedTarget("gpt")]) as services:
        settings = Settings(store=StoreSettings(url="", path=folder / "unused"), blobs=folder / "blobs")
        system = System(settings=settings, services=services, store=cast("Any", None))
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, host=host, port=port, ready=ready.set_result))
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        outcome = (await asyncio.gather(serving, return_exceptions=True))[0]
        if not isinstance(outcome, asyncio.CancelledError):
            raise cast("BaseException", outcome)
        return await ready


async def test_a_free_port_is_told_and_given_back(tmp_path: Path) -> None:
    url = await run(tmp_path, "127.0.0.1")
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))


async def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Can't listen on 127.0.0.1:{port}: Address already in use"):
            await run(tmp_path, "127.0.0.1", port)


async def test_a_host_that_does_not_exist_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Can't listen on 203\.0\.113\.1"):
        await run(tmp_path, "203.0.113.1")


async def test_listening_beyond_loopback_without_keys_is_refused(tmp_path: Path) -> None:
    await run(tmp_path / "a", "127.0.0.1")
    with pytest.raises(ConfigurationError, match=r"Whoever reaches 0\.0\.0\.0"):
        await run(tmp_path / "b", "0.0.0.0")
