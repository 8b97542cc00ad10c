"""`forebay dead-letters`: what failed for good, and putting it back."""

from typing import Annotated, Any

import msgspec
import typer

from forebay.cli.failures import DONE, FAILED
from forebay.cli.jobs import show, show_list
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import fetch, print_json
from forebay.domain.errors import ConfigurationError

PAGE = 1000

app = typer.Typer(
    no_args_is_help=True,
    help="What failed for good on a server: list, show, retry, purge.",
    epilog="Example: forebay dead-letters retry --code target_unavailable",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)]
TargetOption = Annotated[str | None, typer.Option(help="Those of this target.")]
CodeOption = Annotated[str | None, typer.Option(help="Those with this error code.")]
ParentOption = Annotated[str | None, typer.Option(metavar="ID", help="Children of this job.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="dead-letters")


@app.command("list", epilog="Example: forebay dead-letters list --code target_timeout")
def list_(
    context: typer.Context,
    target: TargetOption = None,
    code: CodeOption = None,
    parent: ParentOption = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE)] = 20,
) -> None:
    """List failed jobs, newest first."""
    options = options_of(context)
    filters: dict[str, str | int | None] = {"target": target, "code": code, "parent_id": parent, "after": after}
    answer = fetch(options, "GET", "/v1/dead-letters", params={**filters, "limit": limit})
    show_list(options, answer, empty="No dead letters.")


@app.command("show", epilog="Example: forebay dead-letters show job_01k…")
def show_one(context: typer.Context, job_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show a failed job with its attempts."""
    options = options_of(context)
    show(options, fetch(options, "GET", f"/v1/jobs/{job_id}"))


@app.command(epilog="Example: forebay dead-letters retry --code target_timeout")
def retry(
    context: typer.Context,
    ids: Ids = None,
    target: TargetOption = None,
    code: CodeOption = None,
    every: AllOption = False,
) -> None:
    """Queue dead letters again, with fresh attempts and fresh deadlines."""
    options = options_of(context)
    asked: dict[str, Any] = {"ids": ids or None, "target": target, "code": code, "all": every or None}
    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) != 1:
        raise ConfigurationError("Say which: ids, --target, --code or --all, one of them")
    answer = fetch(options, "POST", "/v1/dead-letters/retry", body=given)
    reply = msgspec.json.decode(answer)
    refused = [item for item in reply["data"] if item.get("error")]
    if options.as_json:
        print_json(answer)
    else:
        print(f"{reply['retried']} queued again")
        for item in refused:
            print(f"{item['id']}: {item['error']['message']}")
    raise typer.Exit(FAILED if refused else DONE)


@app.command(epilog="Example: forebay dead-letters purge --all")
def purge(
    context: typer.Context,
    ids: Ids = None,
    target: TargetOption = None,
    code: CodeOption = None,
    every: AllOption = False,
) -> None:
    """Erase bodies and results of dead letters; the ledger of their calls stays."""
    options = options_of(context)
    if bool(ids) == (every or target is not None or code is not None):
        raise ConfigurationError("Say which: ids, or --target, --code or --all")
    purged = 0
    for job_id in ids or _found(options, target, code):
        fetch(options, "DELETE", f"/v1/jobs/{job_id}")
        purged += 1
    if options.as_json:
        print_json(msgspec.json.encode({"purged": purged}))
    else:
        print(f"{purged} erased")


def _found(options: GlobalOptions, target: str | None, code: str | None) -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        filters = {"target": target, "code": code, "after": after, "limit": PAGE}
        page = msgspec.json.decode(fetch(options, "GET", "/v1/dead-letters", params=filters))
        ids += [job["id"] for job in page["data"]]
        if not page.get("has_more"):
            return ids
        after = ids[-1]
