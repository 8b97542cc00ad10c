"""Commands over HTTP: one request or a few, the API's own body on stdout with ``--json``, else a table for people."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from forebay.cli.options import GlobalOptions
from forebay.client.transport import Transport
from forebay.domain.errors import Interrupted

T = TypeVar("T")
View = Mapping[str, Any]


def over_http(options: GlobalOptions, work: Callable[[Transport], Awaitable[T]]) -> T:
    """Runs ``work`` with a connection to the server. Raises: Interrupted: nobody answers there."""

    server = options.server_url

    async def connected() -> T:
        transport = Transport(server, os.environ.get("FOREBAY_API_KEY"))
        try:
            return await work(transport)
        except Interrupted as exc:
            raise Interrupted(f"{exc}; is `forebay serve` running at {server}?") from exc
        finally:
            await transport.close()

    for asked in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(asked, signal.default_int_handler)
    return asyncio.run(connected())


def fetch(
    options: GlobalOptions,
    method: str,
    path: str,
    *,
    body: Any = None,
    params: Mapping[str, str | int | None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Sends one request. Returns the body of a 2xx answer. Raises: as ``Transport.send`` does."""
    data = None if body is None else msgspec.json.encode(body)
    given = {name: str(value) for name, value in (params or {}).items() if value is not None}
    sent = {"Content-Type": "application/json", **(headers or {})}
    return over_http(
        options,
        lambda transport: transport.send(
            method, path, data=data, params=given, headers=sent, is_repeatable=method == "GET"
        ),
    )


def print_json(body: bytes) -> None:
    """Prints the API's body as it came, indented for a terminal."""
    shown = msgspec.json.format(body, indent=2) if sys.stdout.isatty() else body
    sys.stdout.write(shown.decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Prints a table, or the sentence for none."""
    if not rows:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    width = None if sys.stdout.isatty() else 10_000  # piped: one line each, nothing folded
    Console(width=width, soft_wrap=False, highlight=False).print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Prints one object, a field a line; fields without a value are left out."""
    shown = {name: _cell(value) for name, value in fields.items() if value not in (None, {}, [])}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        print(f"{name:<{width}}  {value}")


def moment(seconds: float | None) -> str:
    """Unix seconds as local time."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
