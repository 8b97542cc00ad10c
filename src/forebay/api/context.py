"""What every request has at hand: the system, who is calling, and what requests of one process share."""

import hashlib
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from forebay.api.depths import QueueDepths
from forebay.api.reading import JobReader
from forebay.api.waiting import Waiting
from forebay.app import System
from forebay.engine.services import Services

DEFAULT_TENANT = "default"
REQUEST_ID = "forebay.request_id"  # where the gate leaves it in the ASGI scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One server's shared parts, made once by ``server.create_app``."""

    system: System
    reader: JobReader
    waiting: Waiting
    depths: QueueDepths
    started_at: float

    @property
    def services(self) -> Services:
        return self.system.services


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is."""

    tenant: str = DEFAULT_TENANT


ANYONE = Caller()


def api_of(connection: HTTPConnection) -> Api:
    """The server's parts that a request works with."""
    return cast("Api", connection.app.state.api)


def caller_of(connection: HTTPConnection) -> Caller:  # noqa: ARG001 - keys will tell callers apart
    """Who is calling. While no key exists any key is accepted, and everybody is the one tenant there is."""
    return ANYONE


def key_of(connection: HTTPConnection) -> str:
    """What tells the presented API key from another one, without being it; '' where none was sent."""
    presented = connection.headers.get("authorization") or connection.headers.get("x-api-key")
    return hashlib.blake2b(presented.encode("latin-1"), digest_size=16).hexdigest() if presented else ""


def request_id_of(connection: HTTPConnection) -> str:
    """The id that the reply carries as ``x-request-id``."""
    return cast("str", connection.scope.get(REQUEST_ID, ""))
