"""The guard, with a small server of the test's own instead of llama.cpp: what it does when that dies, hangs, fails."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError, TargetUnavailable
from forebay.models import GuardedServer, LocalModels, ModelCache, Patience
from forebay.models.health import is_healthy
from tests.unit.models.wheels import tiny_model

QUICK = Patience(
    start=120, check_every=0.05, check_timeout=2.0, hung=2.0, end=0.3, first_restart=0.01, last_restart=0.05
)
LIMIT_SECONDS = 120.0
STAND_IN = """
import json, os, signal, socket, sys, threading
settings = json.loads(sys.stdin.buffer.readline())
folder = os.path.dirname(settings["path"])
if os.path.exists(folder + "/fail"):
    sys.exit("no such model, says the engine")
if os.path.exists(folder + "/deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", settings["port"]))
listener.listen()
def answer():
    while True:
        caller, _ = listener.accept()
        caller.recv(1000)
        if not os.path.exists(folder + "/hang"):
            caller.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
            caller.close()
threading.Thread(target=answer, daemon=True).start()
while os.read(0, 100) or os.path.exists(folder + "/deaf"):
    pass
os._exit(0)
"""


@asynccontextmanager
async def guarded(folder: Path, **options: object) -> AsyncIterator[GuardedServer]:
    model = tiny_model([b"weights"])
    command = (sys.executable, "-c", STAND_IN)
    server = GuardedServer(model, folder / "tiny.gguf", patience=QUICK, command=command, **options)  # type: ignore[arg-type]  # passed on
    try:
        yield server
    finally:
        await server.close()


async def until_restarted(server: GuardedServer, restarts: int = 1) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while server.restarts < restarts or not await is_healthy("127.0.0.1", server.port, 0.5):
            await asyncio.sleep(0.01)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_server_that_is_killed_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        await server.start()
        address, pid = server.base_url, server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until_restarted(server)
        assert server.base_url == address
        assert server.pid != pid


async def test_a_server_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        await server.start()
        pid = server.pid
        assert pid is not None
        hang = tmp_path / "hang"
        hang.touch()
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.restarts == 0:
                await asyncio.sleep(0.01)
        hang.unlink()
        await until_restarted(server)
        assert not exists(pid)


async def test_closing_ends_the_server_and_frees_its_port(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        await server.start()
        pid, port = server.pid, server.port
        assert pid is not None
        await server.close()
        assert not exists(pid)
    async with guarded(tmp_path, port=port) as server:  # at once, while closed connections of the first linger
        await server.start()
        assert server.port == port


async def test_a_server_that_ignores_its_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "deaf").touch()
    async with guarded(tmp_path) as server:
        await server.start()
        pid = server.pid
        assert pid is not None
        await server.close()
        assert not exists(pid)


async def test_a_server_that_does_not_come_up_is_reported_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    async with guarded(tmp_path) as server:
        with pytest.raises(TargetUnavailable, match="ended with status 1: no such model, says the engine"):
            await server.start()
        assert server.pid is None


async def test_a_start_that_is_broken_off_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    async with guarded(tmp_path) as server:
        start = asyncio.create_task(server.start())
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.pid is None:
                await asyncio.sleep(0.01)
        pid = server.pid
        assert pid is not None
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not exists(pid)


async def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="choose another one"):
            async with guarded(tmp_path, port=taken.getsockname()[1]):
                pass


async def test_the_engine_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    async with guarded(tmp_path) as server:
        with pytest.raises(ConfigurationError, match=r"pip install 'forebay\[local\]'"):
            await server.start()


async def test_keys_are_made_where_none_is_given_and_differ(tmp_path: Path) -> None:
    async with guarded(tmp_path) as one, guarded(tmp_path) as other, guarded(tmp_path, api_key="mine") as own:
        assert one.api_key != other.api_key
        assert own.api_key == "mine"


async def test_a_model_that_is_not_pulled_has_no_address(tmp_path: Path) -> None:
    models = LocalModels(ModelCache(tmp_path))
    with pytest.raises(ConfigurationError, match=r"forebay models pull smollm2-135m"):
        await models.address("smollm2-135m")
    await models.close()
