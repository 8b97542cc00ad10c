"""Running a mock model: inside a test's event loop, or as a process of its own."""

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import uvloop

from forebay.testing.mock_model.connection import Connection
from forebay.testing.mock_model.options import MockOptions
from forebay.testing.mock_model.service import MockService

BACKLOG = 4096  # a benchmark opens a thousand connections at once


class MockModel:
    """A mock model on the running loop: ``async with MockModel(options) as mock: mock.base_url``."""

    def __init__(self, options: MockOptions | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._service = MockService(options or MockOptions())
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def start(self) -> None:
        """Listens; a port of 0 is replaced by a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, self._host, self._port, backlog=BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and resets what is still open."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        await self._server.wait_closed()
        self._server = None

    @property
    def url(self) -> str:
        """The address without a version, as Anthropic's clients want it."""
        return f"http://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The address with ``/v1``, as OpenAI's clients want it."""
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        return self._port

    @property
    def options(self) -> MockOptions:
        return self._service.options

    @options.setter
    def options(self, options: MockOptions) -> None:
        self._service.configure(options)

    @property
    def calls(self) -> dict[str, Any]:
        """What ``GET /mock/calls?ids=1`` shows."""
        return self._service.counters.view(with_ids=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _connect(self) -> Connection:
        return Connection(self._service.handle, self._connections)


def serve(
    options: MockOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8702,
    on_ready: Callable[[MockModel], None] | None = None,
) -> signal.Signals:
    """Runs a mock model on uvloop until SIGTERM or SIGINT; returns which. ``on_ready`` is called once it listens
    (default: prints its address).

    Raises: OSError: the port is taken.
    """
    return uvloop.run(_serve(MockModel(options, host=host, port=port), on_ready or _announce))


async def _serve(mock: MockModel, on_ready: Callable[[MockModel], None]) -> signal.Signals:
    asked: list[signal.Signals] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        asked.append(number)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    async with mock:
        on_ready(mock)
        await stopped.wait()
    return asked[0]


def _announce(mock: MockModel) -> None:
    print(f"mock model at {mock.base_url}", flush=True)
