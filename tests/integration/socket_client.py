"""A public WebSocket client on ``/v1/ws``, as its users have it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect


class Socket:
    """Says and hears JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, action: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"action": action, **fields}))

    async def hear(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(await self.connection.recv()))

    async def submit(self, ref: str, **fields: Any) -> str:
        """Submits and hears `accepted`."""
        await self.say("submit", ref=ref, job=fields)
        accepted = await self.hear()
        assert accepted == {"type": "accepted", "ref": ref, "id": accepted.get("id")}, accepted
        return cast("str", accepted["id"])

    async def is_quiet(self) -> bool:
        """Whether nothing was said before the answer to a ping."""
        await self.say("ping", ref="quiet")
        return await self.hear() == {"type": "pong", "ref": "quiet"}


def socket_url(url: str, path: str = "/v1/ws") -> str:
    return url.replace("http://", "ws://") + path


@asynccontextmanager
async def open_socket(url: str, path: str = "/v1/ws", **options: Any) -> AsyncIterator[Socket]:
    async with connect(socket_url(url, path), proxy=None, **options) as connection:
        yield Socket(connection)
