"""`forebay keys`: API keys of the configured store, with no server running; with --server those of a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from forebay.api.keys.records import create_key, list_keys, revoke_key
from forebay.api.keys.routes import FILTERS, key_list, key_order, key_view, new_key_view
from forebay.app import SystemClock, open_storage
from forebay.cli import webhook_secret
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import fetch, moment, print_fields, print_json, print_table
from forebay.domain.ids import IdSource
from forebay.domain.key import DEFAULT_TENANT, Scope
from forebay.ports import RecordStore

T = TypeVar("T")
PAGE = 1000

app = typer.Typer(
    no_args_is_help=True,
    help="API keys of the configured store, or of a server: create, list, revoke.",
    epilog="Example: forebay keys create --name ci --scope submit --scope read",
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    webhook_secret.register(app)
    root.add_typer(app, name="keys")


@app.command(epilog="Example: forebay keys create --name shop --tenant shop --expires 90d")
def create(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="To know it by.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose work it is.", show_default=f"{DEFAULT_TENANT}, or the presented key's")
    ] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; several times.", show_default="submit and read")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="`90d`, or RFC 3339.", show_default="never")
    ] = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    options = options_of(context)
    asked = {"name": name, "tenant": tenant, "scopes": scope, "expires_at": expires}
    given = {field: value for field, value in asked.items() if value is not None}
    if options.is_remote:
        answer = fetch(options, "POST", "/v1/keys", body=given)
    else:
        answer = _on_store(options, lambda records, now: _created(given, records, now))
    if options.as_json:
        print_json(answer)
        return
    made = msgspec.json.decode(answer)
    _print_one(made)
    typer.echo(f"\n{made['key']}\n\nThis is the only time that it is shown. Export it as FOREBAY_API_KEY.")


@app.command("list", epilog="Example: forebay keys list --tenant shop")
def list_(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant.", show_default="all")] = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE)] = 100,
) -> None:
    """List keys, newest first: never the keys themselves, but how they begin."""
    options = options_of(context)
    filters = dict(zip(FILTERS, (tenant, limit, after), strict=True))
    if options.is_remote:
        answer = fetch(options, "GET", "/v1/keys", params=filters)
    else:
        answer = _on_store(options, lambda records, now: _listed(tenant, after, limit, records, now))
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            key["id"],
            key["name"] or None,
            key["tenant"],
            " ".join(key["scopes"]),
            key["status"],
            moment(key["created_at"]),
            moment(key["expires_at"]) or None,
            moment(key["last_used_at"]) or None,
        )
        for key in msgspec.json.decode(answer)["data"]
    ]
    columns = ("key", "name", "tenant", "scopes", "status", "created", "expires", "last used")
    print_table(columns, rows, empty="No keys: whoever reaches a server on loopback may use it.")


@app.command(epilog="Example: forebay keys revoke key_01k…")
def revoke(context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """End a key for good; running servers refuse it within seconds."""
    options = options_of(context)
    if options.is_remote:
        answer = fetch(options, "DELETE", f"/v1/keys/{key_id}")
    else:
        answer = _on_store(options, lambda records, now: _revoked(key_id, records, now))
    if options.as_json:
        print_json(answer)
    else:
        _print_one(msgspec.json.decode(answer))


def _on_store(options: GlobalOptions, work: Callable[[RecordStore, float], Awaitable[T]]) -> T:
    """Runs ``work`` on the configured store's records."""
    set_up_logging("debug" if options.debug else "error")
    settings = options.settings()

    async def opened() -> T:
        async with open_storage(settings) as storage:
            return await work(storage.store.records, SystemClock().now())

    return asyncio.run(opened())


async def _created(given: dict[str, Any], records: RecordStore, now: float) -> bytes:
    order = key_order(msgspec.json.encode(given), now, own_tenant=DEFAULT_TENANT)
    key, text = await create_key(order, records, IdSource(), now)
    return msgspec.json.encode(new_key_view(key, text, now))


async def _listed(tenant: str | None, after: str | None, limit: int, records: RecordStore, now: float) -> bytes:
    keys = await list_keys(tenant, records, after=after, limit=limit + 1)
    return msgspec.json.encode(key_list(keys, limit, now))


async def _revoked(key_id: str, records: RecordStore, now: float) -> bytes:
    return msgspec.json.encode(key_view(await revoke_key(key_id, None, records, now), now))


def _print_one(key: dict[str, Any]) -> None:
    print_fields(
        {
            "id": key["id"],
            "name": key["name"] or None,
            "tenant": key["tenant"],
            "scopes": " ".join(key["scopes"]),
            "status": key["status"],
            "expires": moment(key["expires_at"]) or None,
        }
    )
