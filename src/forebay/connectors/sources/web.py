"""Files by ``https://`` address, copied into the workplace."""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from forebay.connectors.sources.found import Found, Named, copied
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError, TargetUnavailable
from forebay.domain.pipeline import SOURCE_FAILED

T = TypeVar("T")
SCHEMES = ("https", "http")
PIECE_BYTES = 1024 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500
_PASSING = frozenset({408, 429})


def shown_address(address: str) -> str:
    """Without what may be secret in it: a password, a signature."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def tag_of(named: Named, place: Workplace) -> str | None:
    """What the server says of the content without sending it; None: nothing. Raises: TargetUnavailable."""

    async def ask() -> str | None:
        async with _session() as session, session.head(named.address, allow_redirects=True) as answer:
            if answer.status >= _FIRST_ERROR:
                return None
            tag = answer.headers.get("ETag", "")
            return tag if tag and not tag.startswith("W/") else None

    return _told(named, place, ask())


def download(named: Named, place: Workplace) -> Found:
    """Copies a file whole. Raises: RequestError, TargetUnavailable."""
    path, digest = place.path("download"), hashlib.sha256()

    async def fetch() -> None:
        async with _session() as session, session.get(named.address) as answer:
            _check(answer.status, named.shown)
            with path.open("wb") as file:
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    digest.update(piece)
                    await asyncio.to_thread(file.write, piece)

    _told(named, place, fetch())
    return copied(named, path, digest.hexdigest())


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False, trust_env=True)


def _told(named: Named, place: Workplace, work: Coroutine[Any, Any, T]) -> T:
    try:
        return place.wait(work)
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise TargetUnavailable(f"{named.shown!r} can't be reached now: {type(exc).__name__}") from exc


def _check(status: int, shown: str) -> None:
    if status >= _FIRST_SERVER_ERROR or status in _PASSING:
        raise TargetUnavailable(f"{shown!r} answered {status}")
    if status >= _FIRST_ERROR:
        raise RequestError(f"{shown!r} answered {status}", code=SOURCE_FAILED)
