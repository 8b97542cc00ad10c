"""Who is at the other end of a socket: its key, of a header or the first message, looked up as long as it is open."""

import asyncio

from starlette.types import Receive

from forebay.api.keys.ring import KeyRing
from forebay.api.websocket.messages import Auth, parse_action
from forebay.api.websocket.sending import TRY_AGAIN_LATER, UNAUTHENTICATED, Closed, Outgoing
from forebay.domain.errors import RequestError, StoreUnavailable, Unauthorized
from forebay.domain.key import Caller

AUTH_SECONDS = 10.0  # for the first message of a client that sent no key in a header


class Presence:
    """A socket's key. A bad one, or one that is revoked while the socket is open, closes it with 4401."""

    __slots__ = ("_keys", "_out", "presented")

    def __init__(self, keys: KeyRing, presented: str | None, out: Outgoing) -> None:
        self._keys = keys
        self._out = out
        self.presented = presented

    async def open(self, receive: Receive) -> Caller:
        """Tells who calls, by the header or, where a key is needed, by the first message. Raises: Closed."""
        try:
            return await self._keys.authenticate(self.presented)
        except Unauthorized as error:
            if self.presented is not None:
                raise await self._refused(str(error)) from None
        except StoreUnavailable:
            await self._out.close(TRY_AGAIN_LATER, "The store is not available now")
            raise Closed from None
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                message = await receive()
        except TimeoutError:
            raise await self._refused(f"No `auth` message came within {AUTH_SECONDS:g} seconds") from None
        if message["type"] == "websocket.disconnect":
            raise Closed
        text = message.get("text")
        try:
            first = parse_action(message.get("bytes") or b"" if text is None else text.encode())
        except RequestError:
            first = None
        if not isinstance(first, Auth):
            raise await self._refused("Send an API key in a header, or an `auth` message first")
        self.presented = first.key
        return await self.check()

    async def check(self, before: Caller | None = None) -> Caller:
        """Tells who calls now. Raises: Closed: nobody, or another tenant; StoreUnavailable."""
        try:
            caller = await self._keys.authenticate(self.presented)
        except Unauthorized as error:
            raise await self._refused(str(error)) from None
        if before is not None and before.tenant != caller.tenant:
            raise await self._refused("API keys are needed now, and this one is another tenant's: connect again")
        return caller

    async def present(self, key: str, before: Caller) -> Caller:
        """Takes a key from a client that needs none yet. Raises: Closed, StoreUnavailable."""
        self.presented = key
        return await self.check(before)

    async def _refused(self, reason: str) -> Closed:
        await self._out.close(UNAUTHENTICATED, reason)
        return Closed()
