"""``/v1/ws``: submit jobs, watch them and receive what they came to, on one socket."""

import asyncio
from collections.abc import Coroutine
from typing import assert_never

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from forebay.api.admission import admit
from forebay.api.context import Api, Caller, api_of, require
from forebay.api.errors import problem_of, problem_response
from forebay.api.hops import hops_of
from forebay.api.idempotency import Identity, fingerprint_of, scoped_key
from forebay.api.jobs.requests import JobRequest, order_of, parse_request
from forebay.api.keys.ring import presented_key
from forebay.api.websocket.messages import (
    Accepted,
    Auth,
    Cancel,
    Ping,
    Pong,
    Submit,
    Unwatch,
    Watch,
    ids_of,
    parse_action,
    ref_of,
    refusal_of,
)
from forebay.api.websocket.presence import Presence
from forebay.api.websocket.protocol import trust
from forebay.api.websocket.sending import FAILED, Closed, Outgoing
from forebay.api.websocket.watching import Watched
from forebay.domain.errors import Conflict, ForebayError, RequestError, TooLarge
from forebay.domain.key import Scope as KeyScope

log = structlog.get_logger(__name__)

MOST_SUBMITTING = 32  # of one socket at a time: they share the store's commits
SUBMIT_PATH = "/v1/jobs"  # a key stands for one job, whichever wire it came on


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app of one socket."""
    connection = HTTPConnection(scope)
    if scope["query_string"]:
        message = "The socket's address takes no query: an API key goes into a header or the first message"
        refusal = RequestError(message, code="invalid_value")
        await problem_response(problem_of(refusal), connection)(scope, receive, send)
        return
    try:
        hops = hops_of(connection)
    except RequestError as refusal:
        await problem_response(problem_of(refusal), connection)(scope, receive, send)
        return
    await receive()  # `websocket.connect`
    await send({"type": "websocket.accept"})
    out = Outgoing(send)
    presence = Presence(api_of(connection).keys, presented_key(dict(scope["headers"])), out)
    try:
        caller = await presence.open(receive)
        trust(scope)
        session = Session(api_of(connection), presence, caller, out, hops=hops)
        try:
            await session.run(receive)
        finally:
            session.end()
    except Closed:
        return
    finally:
        out.end()


async def upgrade_required(_: Request) -> Response:
    """GET /v1/ws without an upgrade."""
    message = "This is a WebSocket: connect to it with a WebSocket client"
    raise HTTPException(426, message, headers={"upgrade": "websocket", "connection": "upgrade"})


class Session:
    """One client's socket, from its first message to its last."""

    __slots__ = ("_api", "_caller", "_has_begun", "_hops", "_out", "_presence", "_tasks", "_watched")

    def __init__(self, api: Api, presence: Presence, caller: Caller, out: Outgoing, *, hops: int = 0) -> None:
        self._api = api
        self._hops = hops
        self._presence = presence
        self._caller = caller
        self._out = out
        self._watched = Watched(api, presence, caller.tenant, out)
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_begun = False

    async def run(self, receive: Receive) -> None:
        """Does what the client says, until one side closes. A client that does not read its replies is not read from.

        Raises: Closed.
        """
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            data = message.get("bytes") or b"" if text is None else text.encode()
            try:
                await self._act(data)
            except ForebayError as error:
                await self._out.tell(refusal_of(error, ref=ref_of(data)))
            self._has_begun = True

    def end(self) -> None:
        """Leaves no task behind. What is being submitted is committed all the same."""
        self._watched.end()
        for task in self._tasks:
            task.cancel()

    async def _act(self, data: bytes) -> None:
        action = parse_action(data)
        self._caller = await self._presence.check(self._caller)
        match action:
            case Submit():
                require(self._caller, KeyScope.SUBMIT)
                await self._room()
                self._watched.reserve(1)
                self._watched.reserved += 1
                self._spawn(self._submit(action))
            case Watch():
                require(self._caller, KeyScope.READ)
                await self._watched.watch(action.ids, action.ref)
            case Unwatch():
                self._watched.discard(action.ids)
            case Cancel():
                require(self._caller, KeyScope.SUBMIT)
                await self._watched.cancel(ids_of(action), action.ref)
            case Ping():
                await self._out.tell(Pong(ref=action.ref))
            case Auth():
                if self._has_begun or self._presence.presented is not None:
                    message = "`auth` is the first message of a socket that has no key yet"
                    raise Conflict(message, code="already_authenticated")
                self._caller = await self._presence.present(action.key, self._caller)
            case _:
                assert_never(action)

    async def _submit(self, submit: Submit) -> None:
        try:
            try:
                request, identity = self._parsed(bytes(submit.job))
                hops = self._hops if submit.hops is None else submit.hops
                order = order_of(request, identity, self._api.services.clock.now(), hops=hops)
                admitted = await admit(order, identity, self._api, self._caller)
            finally:
                self._watched.reserved -= 1
            await self._out.tell(Accepted(ref=submit.ref, id=admitted.id))
            self._watched.begin(admitted.id)
        except ForebayError as error:
            await self._out.tell(refusal_of(error, ref=submit.ref))

    def _parsed(self, data: bytes) -> tuple[JobRequest, Identity]:
        longest = self._api.system.settings.max_body_bytes
        if len(data) > longest:
            message = f"The job is larger than {longest} bytes (setting `max_body_bytes`)"
            raise TooLarge(message, code="request_too_large")
        request = parse_request(data)
        if request.idempotency_key is None:
            return request, Identity()
        key = scoped_key(SUBMIT_PATH, request.idempotency_key)
        return request, Identity(key=key, fingerprint=fingerprint_of(data))

    async def _room(self) -> None:
        while len(self._tasks) >= MOST_SUBMITTING:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="socket")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Closed):
            log.error("socket_failed", exc_info=error)
            self._spawn(self._out.close(FAILED, "Something unforeseen happened; connect again"))


ROUTES = [Route("/v1/ws", upgrade_required, methods=["GET"])]
