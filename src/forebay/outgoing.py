"""The guard of requests to addresses that users name: a name is resolved, every address that it has is judged, and the
connection goes to an address of that very answer. A DNS answer that changes in between opens nothing.

``notifiers/`` sends through it; HTTP targets that users name can. Redirects and proxies are the sender's to leave off.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from forebay.domain.errors import RequestError
from forebay.policy.addresses import Network, is_allowed, read_url

LOOKUP_SECONDS = 5.0
THREADS = 16  # names that are looked up at once
KEEPALIVE_SECONDS = 4.0  # shorter than servers keep connections (Node and uvicorn: 5 s, nginx: 75 s)
KNOWN_SECONDS = 60.0  # a host that was found good is not looked up again for registrations; connections always are
MOST_KNOWN = 4096
REFUSED = "webhook_url_refused"

Found = Sequence[tuple[socket.AddressFamily, str]]
Lookup = Callable[[str, int], Awaitable[Found]]
_AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class AddressRefused(OSError):
    """The name has an address that requests may not go to. It says which name, and not which address."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host!r} leads to an address that is private or reserved (setting `webhook_allow`)")


class SystemNames:
    """The machine's own resolver, in threads of its own: names that hang hold up nothing but other names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")

    async def __call__(self, host: str, port: int) -> Found:
        """Every address of a name. Raises: OSError, TimeoutError."""
        asking = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, asking)
        return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Guard:
    """``allowed``: the networks that may be reached although they are private."""

    def __init__(self, allowed: Sequence[Network] = (), lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._names = SystemNames()
        self._lookup: Lookup = lookup or self._names
        self._known: dict[tuple[str, int], float] = {}

    async def check(self, url: str, param: str = "url") -> None:
        """Judges an address as it is registered. Raises: RequestError (`webhook_url_refused`)."""
        parts = read_url(url, param)
        try:
            address = URL(url)
        except ValueError as exc:
            raise RequestError(f"{param}: it is no URL", param=param, code=REFUSED) from exc
        host, port = address.host, address.port
        if host is None or port is None or host.removesuffix(".") != (parts.hostname or "").removesuffix("."):
            raise RequestError(f"{param}: its host can be read in two ways", param=param, code=REFUSED)
        now = time.monotonic()
        if now - self._known.get((host, port), -KNOWN_SECONDS) < KNOWN_SECONDS:
            return
        try:
            await self.addresses(host, port)
        except AddressRefused as exc:
            raise RequestError(f"{param}: {exc}", param=param, code=REFUSED) from exc
        except (OSError, UnicodeError) as exc:
            message = f"{param}: the host {host!r} has no address that can be found now"
            raise RequestError(message, param=param, code=REFUSED) from exc
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[host, port] = now

    async def addresses(self, host: str, port: int) -> Found:
        """Resolves and judges: one refused address is enough. Raises: AddressRefused, OSError."""
        found = await self._lookup(host, port)
        if not found:
            raise OSError(f"{host!r} has no address")
        if not all(is_allowed(text, self._allowed) for _, text in found):
            raise AddressRefused(host)
        return found

    def close(self) -> None:
        """Waits for no name."""
        self._names.close()

    def connector(self) -> aiohttp.TCPConnector:
        """Connections of one session, each to an address that was judged for it."""
        return aiohttp.TCPConnector(
            resolver=_Resolver(self),
            use_dns_cache=False,
            socket_factory=self.socket_of,
            limit=0,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ssl=ssl.create_default_context(),
        )

    def socket_of(self, info: _AddressInfo) -> socket.socket:
        """The socket of a connection that is about to be made: the last look, which an address in place of a name
        passes too. Raises: AddressRefused.
        """
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), self._allowed):
            raise AddressRefused(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)


class _Resolver(AbstractResolver):
    """aiohttp's way of asking for names."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=text, port=port, family=found, proto=0, flags=socket.AI_NUMERICHOST)
            for found, text in await self._guard.addresses(host, port)
            if family in {socket.AF_UNSPEC, found}
        ]

    async def close(self) -> None:
        """Nothing is open."""
