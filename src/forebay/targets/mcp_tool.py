"""Target of type ``mcp``: one call of a tool of an MCP server, which is a URL or a command of ours.

A job's body is the tool's arguments; its result is what the tool gave: ``structuredContent`` and ``content``, of which
pictures and sounds are files.
"""

import asyncio
import logging
from typing import Any

import msgspec
from mcp import Client, MCPError
from mcp.types import CallToolResult, Tool
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    URL_ELICITATION_REQUIRED,
)
from pydantic import ValidationError

from forebay.domain.errors import (
    ConfigurationError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.nearest import hint
from forebay.ports import StreamSink
from forebay.targets.endpoint import checked_url, preset_headers
from forebay.targets.failures import check_status
from forebay.targets.http import Response
from forebay.targets.mcp_http import SEEN, Seen, broken
from forebay.targets.mcp_result import words_of, written
from forebay.targets.mcp_session import LEAST_ERROR, McpSession, redacted, secrets_of

CHECK_SECONDS = 30.0
STUCK_TIME_OUTS = 3
MOST_PAGES = 50  # of a server's list of tools
REASON_CHARACTERS = 300
#: The request can't be done, whenever it is sent. Source: JSON-RPC 2.0, 5.1, and the protocol's own codes.
_FINAL = frozenset(
    {
        INVALID_PARAMS,
        INVALID_REQUEST,
        METHOD_NOT_FOUND,
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        UNSUPPORTED_PROTOCOL_VERSION,
        URL_ELICITATION_REQUIRED,
    }
)
_NO_SESSION = 404  # the server was started again, and knows the session no more
_UNKNOWN_TOOL = "Unknown tool"  # as the official servers say it, in a result and not in an error of the protocol


class McpTarget:
    """Calls ``tool``, or the one that the body names."""

    def __init__(self, spec: TargetSpec) -> None:
        """Raises: ConfigurationError: neither a URL nor a command is there, or both are."""
        if (spec.url is None) == (spec.command is None):
            raise ConfigurationError(f"targets.{spec.name}: an MCP server is a url or a command, one of both")
        if spec.url is not None:
            checked_url(spec, spec.url, "url")
        key = {"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        self._spec = spec
        self._session = McpSession(spec, preset_headers(spec, key))
        self._time_outs = 0  # in a row
        for name in ("mcp", "httpx2", "httpcore2"):  # what they log may quote answers
            logging.getLogger(name).setLevel(logging.CRITICAL)

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - it has none
        if call.is_stream:
            raise TargetRejected(f"target {self.name!r} is a tool, whose answers are not streamed: leave `stream` off")
        tool, arguments = self._asked(call)
        try:
            async with asyncio.timeout(call.timeout_seconds):
                result = await self._called(tool, arguments, call)
        except TimeoutError as exc:
            self._count_time_out()
            message = f"target {self.name!r}: the tool {tool!r} did not answer within {call.timeout_seconds:g} s"
            raise TargetTimeout(message) from exc
        self._time_outs = 0
        if result.is_error:
            raise self._failed(tool, result)
        body, files = written(result)
        return InferenceResult(status_code=200, body=body, files=files)

    async def check(self) -> str:
        """Asks for the list of tools, which calls none."""
        async with asyncio.timeout(CHECK_SECONDS):
            client = await self._session.client()
            tools = await self._tools(client)
        names = [tool.name for tool in tools]
        wanted = self._spec.tool
        if wanted is not None and wanted not in names:
            known = ", ".join(names) or "none"
            message = (
                f"target {self.name!r}: the server has no tool {wanted!r}{hint(wanted, names)}; there are: {known}"
            )
            raise TargetRejected(message)
        server = client.server_info.name if client.server_info else "an MCP server"
        shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        return f"{self.name}: {server}, {len(names)} tool{'' if len(names) == 1 else 's'}" + (
            f" ({shown})" if shown else ""
        )

    async def close(self) -> None:
        await self._session.close()

    def _asked(self, call: Call) -> tuple[str, dict[str, Any]]:
        """The tool and its arguments. Raises: TargetRejected: the body does not say them."""
        try:
            body = msgspec.json.decode(call.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetRejected(f"a tool's arguments are a JSON object: {exc}") from exc
        if self._spec.models:
            body.pop("model", None)  # it was set to the target's
        if self._spec.tool is not None:
            return self._spec.tool, body
        match body:
            case {"tool": str(tool), "arguments": dict(arguments)} if len(body) == 2:
                return tool, arguments
            case {"tool": str(tool)} if len(body) == 1:
                return tool, {}
        raise TargetRejected('the target names no tool: the body is {"tool": "…", "arguments": {…}}, and nothing else')

    async def _called(self, tool: str, arguments: dict[str, Any], call: Call) -> CallToolResult:
        """Calls once; a session that the server has lost before it began is opened again for it."""
        for _ in range(2):
            result = await self._once(tool, arguments, call)
            if result is not None:
                return result
        raise TargetUnavailable(f"target {self.name!r}: the server does not keep its sessions")

    async def _once(self, tool: str, arguments: dict[str, Any], call: Call) -> CallToolResult | None:
        """None: the server does not know the session any more, and has not begun the call."""
        client = await self._session.client()
        seen = Seen()
        token = SEEN.set(seen)
        try:
            return await client.call_tool(tool, arguments, progress_callback=_alive, meta=_meta(call))
        except MCPError as exc:
            if exc.code == INVALID_REQUEST and seen.status == _NO_SESSION:
                self._session.drop(client)
                return None
            if exc.code == CONNECTION_CLOSED and seen.status is None and seen.error is None:
                self._session.drop(client)
            raise self._told(exc, seen) from exc
        except (RuntimeError, ValidationError) as exc:  # it does not hold to its own schema, or to the protocol's
            why = redacted(str(exc).splitlines()[0][:REASON_CHARACTERS], secrets_of(self._spec))
            message = f"target {self.name!r}: the tool {tool!r} gave what is no result: {why}"
            raise TargetFailed(message, status_code=200) from exc
        finally:
            SEEN.reset(token)

    def _count_time_out(self) -> None:
        """A program that has answered nothing for several calls may be stuck: the next call starts another one."""
        self._time_outs += 1
        if self._spec.command is not None and self._time_outs >= STUCK_TIME_OUTS:
            self._time_outs = 0
            self._session.restart()

    def _failed(self, tool: str, result: CallToolResult) -> TargetError:
        """What the tool itself tells of: it raised, or refuses these arguments; the protocol does not say which."""
        said = redacted(words_of(result), secrets_of(self._spec))[:REASON_CHARACTERS]
        body, _ = written(result, is_kept=False)
        kind = TargetRejected if said.startswith(_UNKNOWN_TOOL) else TargetFailed
        return kind(f"target {self.name!r}: the tool {tool!r} failed: {said}", body=body)

    def _told(self, error: MCPError, seen: Seen) -> TargetError:
        """What a protocol's error means."""
        if seen.is_unsent:
            return TargetUnavailable(f"target {self.name!r}: the MCP server can't be reached: {seen.error}")
        if (cut := broken(seen, self.name)) is not None:
            return cut
        said = redacted(" ".join(error.message.split()), secrets_of(self._spec))[:REASON_CHARACTERS]
        message = f"target {self.name!r}: {said} ({error.code})"
        if error.code == CONNECTION_CLOSED and seen.status is None:
            return TargetFailed(f"target {self.name!r}: the MCP server ended in the middle of the call")
        if error.code == REQUEST_TIMEOUT:
            return TargetTimeout(message)
        if error.code in _FINAL:
            return TargetRejected(message, status_code=seen.status)
        if seen.status is not None and seen.status >= LEAST_ERROR:
            return self._by_status(seen, message)
        return TargetFailed(message)

    def _by_status(self, seen: Seen, message: str) -> TargetError:
        try:
            check_status(Response(status=seen.status or 0, headers=seen.headers, body=b""), self.name)
        except TargetError as error:
            return error
        return TargetFailed(message)

    async def _tools(self, client: Client) -> list[Tool]:
        tools: list[Tool] = []
        cursor: str | None = None
        try:
            for _ in range(MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        except MCPError as exc:
            self._session.drop(client)
            raise TargetUnavailable(f"target {self.name!r}: its tools can't be listed: {exc.message}") from exc
        return tools


async def _alive(progress: float, total: float | None, message: str | None) -> None:
    """Asks servers to tell of their progress: what stands between keeps a connection that is not silent."""


def _meta(call: Call) -> Any:
    """By which a server's log can be matched with ours, and a repeat be known."""
    return {
        "forebay/job-id": call.job_id,
        "forebay/attempt": call.attempt,
        "forebay/idempotency-key": call.idempotency_key or call.job_id,
        **({"forebay/hops": call.hops} if call.hops else {}),
    }
