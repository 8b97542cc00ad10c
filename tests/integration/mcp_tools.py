"""An MCP server on the official SDK, as a process of its own: ``python -m tests.integration.mcp_tools``, over stdio, or
over HTTP with a PORT (``legacy``: with the sessions of the protocol before 2026).

Its journal, a file named by the environment, has a line for all that it does: tests read it.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from pydantic import BaseModel
from starlette.responses import Response

JOURNAL, KEY = "TOOLS_JOURNAL", "TOOLS_KEY"
PICTURE = b"\x89PNG\r\n\x1a\n\x00\xff"
server = MCPServer("Toolbox", version="1")


class Weather(BaseModel):
    """What ``weather`` gives."""

    city: str
    degrees: float


class City(BaseModel):
    """What ``ask`` asks for."""

    city: str


def note(line: str) -> None:
    if path := os.environ.get(JOURNAL):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@server.tool()
def weather(city: str) -> Weather:
    """A structured result."""
    return Weather(city=city, degrees=21.5)


@server.tool(structured_output=False)
def picture() -> list[Any]:
    """A text and a picture."""
    return ["a chart", Image(data=PICTURE, format="png")]


@server.tool()
def fail(reason: str) -> str:
    """Raises."""
    note(f"fail {reason}")
    raise ValueError(reason)


@server.tool()
async def wait(name: str, ctx: Context) -> str:
    """Tells of its progress, and works until it is cancelled or its gate, a file beside the journal, is there."""
    note(f"begin {name}")
    gate = Path(os.environ[JOURNAL]).with_name(name)
    try:
        while not gate.exists():
            await ctx.report_progress(1, 2)
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        note(f"cancelled {name}")
        raise
    note(f"end {name}")
    return f"waited for {name}"


@server.tool()
def die() -> str:
    """Ends the server in the middle of the call."""
    note("die")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@server.tool()
def told(ctx: Context) -> dict[str, Any]:
    """What the request's ``_meta`` has, and the environment."""
    meta = ctx.request_context.meta or {}
    known = {name: value for name, value in dict(meta).items() if name.startswith("forebay/")}
    return {"meta": known, "environment": sorted(os.environ), "pid": os.getpid()}


@server.tool()
async def ask(ctx: Context) -> str:
    """Asks the user, of whom a job has none."""
    answer = await ctx.elicit("Which city?", schema=City)
    return f"{answer.action}"


@server.tool()
def complain(words: str) -> str:
    """Writes to stderr."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
    return "said"


def guarded(app: Any, key: str | None) -> Any:
    """The app, which wants the key."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization")
        if scope["type"] == "http" and key is not None and given != f"Bearer {key}".encode():
            await Response(status_code=401)(scope, receive, send)
            return
        await app(scope, receive, send)

    return guard


class Announcing(uvicorn.Server):
    """Says where it listens when it does."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"listens at http://127.0.0.1:{self.config.port}/mcp\n")
        sys.stdout.flush()


def main() -> None:
    note(f"start {os.getpid()}")
    if len(sys.argv) == 1:
        server.run("stdio")
        return
    app = guarded(server.streamable_http_app(), os.environ.get(KEY))
    config = uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
    Announcing(config).run()


if __name__ == "__main__":
    main()
