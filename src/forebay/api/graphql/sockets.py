"""``/graphql`` over a WebSocket. Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md"""

from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from graphql import GraphQLError
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.async_base_view import AsyncWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types.unset import UnsetType

from forebay.api.context import api_of
from forebay.api.errors import GRAPHQL_PATHS, problem_of, problem_response
from forebay.api.graphql.operation import Operation
from forebay.api.graphql.schema import schema
from forebay.api.keys.ring import presented_key
from forebay.api.websocket.sending import TRY_AGAIN_LATER, Closed, Outgoing
from forebay.domain.errors import RequestError, StoreUnavailable, Unauthorized
from forebay.domain.key import Caller
from forebay.policy.json_text import is_too_deep

log = structlog.get_logger(__name__)
INIT_SECONDS = 10.0  # for `connection_init`
MOST_OPERATIONS = 100  # of one socket at a time
BAD_MESSAGE, BAD_PROTOCOL = 4400, 4406
_LONGEST_REASON_BYTES = 123  # Source: RFC 6455, 5.5
_NOBODY = Caller(scopes=frozenset())  # until `connection_init` was answered; nothing can be asked before


class Init(msgspec.Struct, tag="connection_init", kw_only=True, omit_defaults=True):
    payload: dict[str, Any] | None = None


class Query(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


class Subscribe(msgspec.Struct, tag="subscribe", kw_only=True):
    id: str
    payload: Query


class Complete(msgspec.Struct, tag="complete", kw_only=True):
    id: str


class Ping(msgspec.Struct, tag="ping", kw_only=True, omit_defaults=True):
    payload: dict[str, Any] | None = None


class Pong(msgspec.Struct, tag="pong", kw_only=True, omit_defaults=True):
    payload: dict[str, Any] | None = None


_MESSAGE = msgspec.json.Decoder(Init | Subscribe | Complete | Ping | Pong)


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app of one socket."""
    connection = HTTPConnection(scope)
    if scope["query_string"]:
        refusal = RequestError("The socket's address takes no query: an API key goes into `connection_init`")
        await problem_response(problem_of(refusal), connection)(scope, receive, send)
        return
    await receive()  # `websocket.connect`
    out = Outgoing(send)
    is_spoken = GRAPHQL_TRANSPORT_WS_PROTOCOL in scope["subprotocols"]
    accepted = {"subprotocol": GRAPHQL_TRANSPORT_WS_PROTOCOL} if is_spoken else {}
    await send({"type": "websocket.accept", **accepted})
    if not is_spoken:
        await out.close(BAD_PROTOCOL, f"Connect with the subprotocol {GRAPHQL_TRANSPORT_WS_PROTOCOL}")
        return
    operation = Operation(api=api_of(connection), caller=_NOBODY, presented=presented_key(dict(scope["headers"])))
    try:
        await _handler(_Wire(receive, out), operation).handle()
    except (Closed, WebSocketDisconnected):
        return
    except StoreUnavailable:
        await out.close(TRY_AGAIN_LATER, "The store is not available now")
    finally:
        out.end()


class _Handler(BaseGraphQLTransportWSHandler[Operation, None]):
    """The protocol, which tells our log of nothing but faults of ours."""

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            log.error("socket_failed", exc_info=error)

    @staticmethod
    def _get_pre_execution_close_reason(_: GraphQLError) -> None:
        """A document that can't be read is an error of its operation: the library would close the socket on all."""


def _handler(wire: "_Wire", operation: Operation) -> _Handler:
    return _Handler(
        view=_AS_VIEW,
        websocket=wire,
        context=operation,
        root_value=None,
        schema=schema(),
        connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
        max_subscriptions_per_connection=MOST_OPERATIONS,
    )


class _View:
    """What the protocol asks of its surroundings."""

    async def on_ws_connect(self, context: Operation) -> UnsetType:
        """Tells who calls, by ``connectionParams`` or the header. Raises: ConnectionRejectionError."""
        named = presented_in(context.connection_params)
        context.connection_params = {}
        context.presented = context.presented if named is None else named
        try:
            context.caller = await context.api.keys.authenticate(context.presented)
        except Unauthorized as refused:
            raise ConnectionRejectionError from refused
        return UnsetType()


_AS_VIEW: Any = _View()  # the library's own view answers HTTP as well, which we do


def presented_in(params: Mapping[str, Any]) -> str | None:
    """The API key in ``connectionParams``: `Authorization: Bearer KEY` or `x-api-key`, as in headers, or `key`."""
    texts = {name.lower(): value for name, value in params.items() if isinstance(value, str)}
    headers = {name.encode(): texts[name].encode("latin-1", "replace") for name in texts}
    return texts.get("key") or presented_key(headers)


class _Wire(AsyncWebSocketAdapter):
    """The socket as the protocol sees it: messages of the right form alone, to a client that takes what it is sent."""

    def __init__(self, receive: Receive, out: Outgoing) -> None:
        super().__init__(_AS_VIEW)
        self._receive = receive
        self._out = out

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:  # noqa: ARG002
        while (message := await self._receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            if text is None:
                await self.close(BAD_MESSAGE, "A message must be text")
                return
            if (said := await self._parsed(text.encode())) is None:
                return
            yield said

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await self._out.tell(message)
        except Closed as closed:
            raise WebSocketDisconnected from closed

    async def close(self, code: int, reason: str) -> None:
        await self._out.close(code, reason.encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore"))

    async def _parsed(self, data: bytes) -> object:
        """The message as plain values; None: it is none, and the socket is closed."""
        if is_too_deep(data):
            await self.close(BAD_MESSAGE, "The message is nested too deeply")
            return None
        try:
            return msgspec.to_builtins(_MESSAGE.decode(data))
        except (msgspec.DecodeError, RecursionError) as error:
            await self.close(BAD_MESSAGE, f"Invalid message: {error}")
            return None


SOCKETS = dict.fromkeys(GRAPHQL_PATHS, socket)
