"""`forebay rules`: list a server's rules; show what an event would match and send, with no server running."""

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from forebay.api.events.rules import tried
from forebay.api.events.views import TestView
from forebay.app import SystemClock, open_storage
from forebay.cli.events import read_json
from forebay.cli.failures import DONE, FAILED
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import fetch, print_json, print_table
from forebay.domain.errors import ConfigurationError
from forebay.domain.key import DEFAULT_TENANT
from forebay.engine.rules import Rules
from forebay.policy.matching import EventPattern

PAGE = 1000

app = typer.Typer(
    no_args_is_help=True,
    help="Rules: list a server's, and try an event against the configuration's.",
    epilog="Example: forebay rules test event.json",
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="rules")


@app.command("list", epilog="Example: forebay rules list")
def list_(
    context: typer.Context,
    after: Annotated[str | None, typer.Option(metavar="NAME", help="Go on after this rule.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE)] = 100,
) -> None:
    """List a server's rules: the configuration's first."""
    options = options_of(context)
    answer = fetch(options, "GET", "/v1/rules", params={"after": after, "limit": limit})
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            rule["name"],
            "on" if rule["enabled"] else "off",
            rule["origin"],
            " ".join(rule["send"]),
            msgspec.json.encode(rule["pattern"]).decode(),
        )
        for rule in msgspec.json.decode(answer)["data"]
    ]
    print_table(("rule", "is", "from", "sends", "pattern"), rows, empty="No rules.")


@app.command("test", epilog="Example: forebay rules test event.json --pattern pattern.json")
def try_event(
    context: typer.Context,
    event: Annotated[str, typer.Argument(metavar="FILE", help="The event as JSON; - reads stdin.")],
    pattern: Annotated[str | None, typer.Option(metavar="FILE", help="Try this pattern alone.")] = None,
) -> None:
    """Show which rules an event matches, and what they would send. Nothing is sent; exit 1 where none matches."""
    options = options_of(context)
    given = read_json(event)
    if not isinstance(given, dict):
        raise ConfigurationError(f"{event} is not one event: it must hold a JSON object")
    asked: dict[str, Any] = {"event": given}
    if pattern is not None:
        asked["pattern"] = read_json(pattern)
    if options.is_remote:
        answer = fetch(options, "POST", "/v1/rules/test", body=asked)
    else:
        answer = msgspec.json.encode(_tried(options, asked))
    view = msgspec.json.decode(answer)
    if options.as_json:
        print_json(answer)
    else:
        _show(view)
    raise typer.Exit(DONE if view["matched"] else FAILED)


def _tried(options: GlobalOptions, asked: dict[str, Any]) -> TestView:
    if "pattern" in asked:
        return TestView(matched=EventPattern(asked["pattern"]).matches(asked["event"]), rules=[])
    set_up_logging("debug" if options.debug else "error")
    settings = options.settings()

    async def opened() -> TestView:
        async with open_storage(settings) as storage:
            rules = Rules(storage.store.records, SystemClock(), settings.rules)
            return tried(await rules.of(DEFAULT_TENANT), asked["event"])

    return asyncio.run(opened())


def _show(view: dict[str, Any]) -> None:
    if not view["rules"]:
        typer.echo("It matches." if view["matched"] else "It matches nothing.")
    for rule in view["rules"]:
        typer.echo(f"{rule['rule']}:")
        for name, sent in rule["send"].items():
            what = sent["error"]["message"] if sent["error"] else msgspec.json.encode(sent["body"]).decode()
            place = sent["target"] or ", ".join(sent.get("targets") or ()) or sent["model"] or "by body.model"
            typer.echo(f"  {name} -> {place}: {what}")
