"""A TCP proxy that cuts: it drops what it is given in silence, as a lost network does, or a chosen reply alone."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

READ_BYTES = 65536


class Fate(Enum):
    """What becomes of a message that ``judge`` was asked about."""

    PASS = auto()
    LOSE_REPLY = auto()  # it arrives, and the connection breaks before its reply
    LOSE = auto()  # it does not arrive, and the connection breaks


Judge = Callable[[bytes], Fate]


class CuttingProxy:
    """Between clients and a server on this machine; ``async with`` opens it. ``port`` is where clients connect;
    ``upstream`` where new connections lead.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self._is_refusing = False
        self.judge: Judge = lambda _: Fate.PASS

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """From now on nothing arrives, in either direction, and nobody is told."""
        self._whole.clear()

    def cut_new(self) -> None:
        """From now on new connections get no answer; those that are open live."""
        self._is_refusing = True

    async def mend(self) -> None:
        """New connections work again; the old ones, whose bytes were lost, are broken off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._is_refusing = False
        self._whole.set()

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.mend()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while self._is_refusing or not self._whole.is_set():
                await asyncio.sleep(3600)  # until `mend` cancels it
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.upstream)
            try:
                is_deaf = asyncio.Event()
                forth = asyncio.create_task(self._forth(reader, ours, is_deaf))
                back = asyncio.create_task(self._back(theirs, writer, is_deaf))
                try:
                    await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    forth.cancel()
                    back.cancel()
                    await asyncio.gather(forth, back, return_exceptions=True)
            finally:
                ours.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_deaf: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._whole.wait()
                fate = self.judge(data)
                if fate is Fate.LOSE:
                    return
                if fate is Fate.LOSE_REPLY:
                    is_deaf.set()
                writer.write(data)
                await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_deaf: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._whole.wait()
                if is_deaf.is_set():
                    return
                writer.write(data)
                await writer.drain()
