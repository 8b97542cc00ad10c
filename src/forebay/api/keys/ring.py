"""The key ring: who presents which key. A hit costs a hash and a look-up; a revoked key ends within seconds."""

import hashlib
import time
from collections.abc import Callable, Mapping

from forebay.api.keys.records import is_any_key, verified_key
from forebay.domain.errors import Unauthorized
from forebay.domain.key import Caller
from forebay.ports import Clock, RecordStore

FRESH_SECONDS = 2.0  # how long what was read of a key holds: by then a revocation has come to every process
GRACE_SECONDS = 1.0  # how long the others go on with what is known while one request reads it again
MOST_KEPT = 10_000
ANYONE = Caller()
_BEARER = b"bearer "


class KeyRing:
    """Tells callers by their keys. ``is_open``: while no key exists nobody needs one (a server on loopback)."""

    def __init__(
        self,
        records: RecordStore,
        clock: Clock,
        *,
        is_open: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._clock = clock
        self._monotonic = monotonic
        self._may_be_open = is_open
        self._open_until = 0.0
        self._kept: dict[bytes, tuple[Caller, float]] = {}  # by the key's SHA-256; until when it holds

    def known(self, presented: str | None) -> Caller | None:
        """The caller if it is known at this moment; None: ask ``authenticate``."""
        if self._may_be_open:
            return ANYONE if self._monotonic() < self._open_until else None
        if presented is None:
            return None
        kept = self._kept.get(_digest(presented))
        return kept[0] if kept is not None and self._monotonic() < kept[1] else None

    async def authenticate(self, presented: str | None) -> Caller:
        """Tells who calls. ``presented``: the key alone, without `Bearer`.

        Raises: Unauthorized: no key, or none that is valid; StoreUnavailable.
        """
        if (caller := self.known(presented)) is not None:
            return caller
        if self._may_be_open and await self._is_open():
            return ANYONE
        if not presented:
            message = "No API key was sent; send it as `Authorization: Bearer fb_…` or `x-api-key: fb_…`"
            raise Unauthorized(message, is_missing=True)
        digest = _digest(presented)
        if digest in self._kept:  # the others need not ask as well
            self._kept[digest] = (self._kept[digest][0], self._monotonic() + GRACE_SECONDS)
        key = await verified_key(presented, self._records, self._clock.now())
        if key is None:
            self._kept.pop(digest, None)
            raise Unauthorized("The API key is not valid: it is unknown, revoked or expired")
        caller = Caller(tenant=key.tenant, scopes=frozenset(key.scopes), key_id=key.id)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = (caller, self._monotonic() + FRESH_SECONDS)
        return caller

    def forget(self) -> None:
        """Asks the store again for every key, from now on."""
        self._open_until = 0.0
        self._kept.clear()

    async def _is_open(self) -> bool:
        if self._open_until:
            self._open_until = self._monotonic() + GRACE_SECONDS
        if await is_any_key(self._records):
            self._may_be_open = False  # for good: an older reply that comes later changes nothing
        self._open_until = self._monotonic() + FRESH_SECONDS
        return self._may_be_open


def presented_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The key that a request's headers present: as a bearer's token, else as ``x-api-key``."""
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip().decode("latin-1")
    named = headers.get(b"x-api-key")
    return None if named is None else named.strip().decode("latin-1")


def _digest(presented: str) -> bytes:
    return hashlib.sha256(presented.encode("utf-8", "backslashreplace")).digest()
