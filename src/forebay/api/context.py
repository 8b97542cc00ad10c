"""What every request has at hand: the system, who is calling, and what requests of one process share."""

import hashlib
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from forebay.api.depths import QueueDepths
from forebay.api.keys.ring import ANYONE, KeyRing
from forebay.api.limits import Room
from forebay.api.quotas import Quotas
from forebay.api.reading import JobReader
from forebay.api.waiting import Waiting
from forebay.app import System
from forebay.domain.errors import Forbidden, Unauthorized
from forebay.domain.key import Caller, Scope
from forebay.engine.services import Services

__all__ = [
    "ANYONE",
    "CALLER",
    "REQUEST_ID",
    "Api",
    "Caller",
    "api_of",
    "caller_of",
    "key_of",
    "request_id_of",
    "require",
]
REQUEST_ID = "forebay.request_id"  # where the gate leaves it in the ASGI scope
CALLER = "forebay.caller"  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One server's shared parts, made once by ``server.create_app``."""

    system: System
    reader: JobReader
    waiting: Waiting
    depths: QueueDepths
    keys: KeyRing
    quotas: Quotas
    room: Room
    started_at: float

    @property
    def services(self) -> Services:
        return self.system.services


def api_of(connection: HTTPConnection) -> Api:
    """The server's parts that a request works with."""
    return cast("Api", connection.app.state.api)


def caller_of(connection: HTTPConnection) -> Caller:
    """Who is calling, as the gate found out; of a socket, ``keys.authenticate`` tells.

    Raises: Unauthorized: nobody has been told apart on this connection.
    """
    caller: Caller | None = connection.scope.get(CALLER)
    if caller is None:
        raise Unauthorized("No API key was presented on this connection")
    return caller


def require(caller: Caller, scope: Scope) -> None:
    """For routes that do several things. Raises: Forbidden: the key lacks the scope."""
    if scope not in caller.scopes:
        has = " ".join(sorted(caller.scopes)) or "none"
        raise Forbidden(f"This needs a key with the scope {scope.value!r}; the presented one has {has}", scope=scope)


def key_of(connection: HTTPConnection) -> str:
    """What tells the presented API key from another one, without being it; '' where none was sent."""
    presented = connection.headers.get("authorization") or connection.headers.get("x-api-key")
    return hashlib.blake2b(presented.encode("latin-1"), digest_size=16).hexdigest() if presented else ""


def request_id_of(connection: HTTPConnection) -> str:
    """The id that the reply carries as ``x-request-id``."""
    return cast("str", connection.scope.get(REQUEST_ID, ""))
