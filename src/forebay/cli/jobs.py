"""`forebay jobs`: submit, get, wait, list, cancel, retry, over HTTP."""

import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from forebay.cli.failures import DONE, FAILED, say
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import View, fetch, moment, print_fields, print_json, print_table
from forebay.domain.errors import ConfigurationError

LONGEST_WAIT_SECONDS = 60
TERMINAL = ("succeeded", "failed", "cancelled")

app = typer.Typer(
    no_args_is_help=True,
    help="Single requests on a server: submit, get, wait, list, cancel, retry.",
    epilog="Example: forebay jobs submit --model llama --prompt 'Say hello' --wait 60",
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="jobs")


@app.command(epilog="Example: forebay jobs submit --model llama --prompt 'Say hello' --wait 60")
def submit(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="The model, or a route.")] = None,
    target: Annotated[str | None, typer.Option(help="The target.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="For example /v1/embeddings.", show_default="the target's own")
    ] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON|@FILE|-", help="The request's body.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A user message, instead of --body.")] = None,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="Higher goes first.")] = None,
    not_before: Annotated[str | None, typer.Option(metavar="TIME", help="A time, or a duration such as 15m.")] = None,
    deadline: Annotated[str | None, typer.Option(metavar="TIME", help="A time, or a duration such as 24h.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="Of one call.")] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, help="Calls at most.")] = None,
    budget_usd: Annotated[float | None, typer.Option(min=0, help="What it may cost at most.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again is the same job.")] = None,
    wait: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Wait for the end so long.")] = None,
) -> None:
    """Submit one request. It is durable when this returns."""
    options = options_of(context)
    fields: dict[str, Any] = {
        "model": model,
        "target": target,
        "endpoint": endpoint,
        "body": request_body(body, prompt),
        "priority": priority,
        "not_before": not_before,
        "deadline": deadline,
        "timeout": timeout,
        "max_attempts": max_attempts,
        "budget_usd": budget_usd,
        "metadata": pairs(metadata) or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    answer = fetch(options, "POST", "/v1/jobs", body=given, headers=headers)
    if wait is not None:
        answer = wait_for(options, _view(answer)["id"], wait)
    show(options, answer)
    if wait is not None:
        raise typer.Exit(_ended(answer, wait))
    raise typer.Exit(FAILED if _view(answer)["status"] in ("failed", "cancelled") else DONE)


@app.command(epilog="Example: forebay jobs get job_01k… --json")
def get(context: typer.Context, job_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show a job with its result and attempts."""
    options = options_of(context)
    show(options, fetch(options, "GET", f"/v1/jobs/{job_id}"))


@app.command(epilog="Example: forebay jobs wait job_01k… --timeout 600")
def wait(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID")],
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Give up after so long.")] = 86_400.0,
) -> None:
    """Wait until a job has ended. Exit 1 if it failed, was cancelled, or the time ran out."""
    options = options_of(context)
    answer = wait_for(options, job_id, timeout)
    show(options, answer)
    raise typer.Exit(_ended(answer, timeout))


@app.command("list", epilog="Example: forebay jobs list --status failed --limit 50")
def list_(
    context: typer.Context,
    status: Annotated[
        str | None, typer.Option(help="queued, running, waiting, succeeded, failed or cancelled.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="infer, batch, …")] = None,
    target: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option()] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Children of this job.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List jobs, newest first."""
    options = options_of(context)
    filters = {"status": status, "kind": kind, "target": target, "model": model, "parent_id": parent, "after": after}
    chosen = {f"metadata[{name}]": value for name, value in pairs(metadata).items()}
    show_list(options, fetch(options, "GET", "/v1/jobs", params={**filters, **chosen, "limit": limit}))


@app.command(epilog="Example: forebay jobs cancel job_01k…")
def cancel(context: typer.Context, job_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Cancel a job, with what hangs on it."""
    options = options_of(context)
    show(options, fetch(options, "POST", f"/v1/jobs/{job_id}/cancel"))


@app.command(epilog="Example: forebay jobs retry job_01k…")
def retry(context: typer.Context, job_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Queue a failed or cancelled job again, with fresh attempts and a fresh deadline."""
    options = options_of(context)
    show(options, fetch(options, "POST", f"/v1/jobs/{job_id}/retry"))


def wait_for(options: GlobalOptions, job_id: str, seconds: float) -> bytes:
    """Waits for a job's end, at most so long. Returns its view, ended or not."""
    until = time.monotonic() + seconds
    while True:
        remaining = until - time.monotonic()
        held = max(0.0, min(LONGEST_WAIT_SECONDS, remaining))
        answer = fetch(options, "GET", f"/v1/jobs/{job_id}", params={"wait": f"{held:.3f}"})
        if _view(answer)["status"] in TERMINAL or remaining <= 0:
            return answer


def show(options: GlobalOptions, answer: bytes) -> None:
    """Prints a job."""
    if options.as_json:
        print_json(answer)
        return
    view = dict(_view(answer))
    attempts = view.pop("attempts", None) or []
    for name in ("object", "attempt_count"):
        view.pop(name, None)
    for name in ("created_at", "not_before", "deadline", "started_at", "finished_at"):
        view[name] = moment(view.get(name)) or None
    print_fields({**view, "attempts": len(attempts)})
    for attempt in attempts:
        error = f": {attempt['error']}" if attempt.get("error") else ""
        print(f"  {attempt['number']}. {moment(attempt['started_at'])} {attempt['target']} {attempt['outcome']}{error}")


def show_list(options: GlobalOptions, answer: bytes, *, empty: str = "No such job.") -> None:
    """Prints a page of jobs."""
    if options.as_json:
        print_json(answer)
        return
    page = _view(answer)
    rows = [
        (
            job["id"],
            job["kind"],
            job["status"],
            job.get("target") or job.get("model"),
            moment(job["created_at"]),
            _why(job),
        )
        for job in page["data"]
    ]
    print_table(("id", "kind", "status", "target or model", "created", "error"), rows, empty=empty)
    if page.get("has_more"):
        print(f"More: --after {page['data'][-1]['id']}")


def request_body(body: str | None, prompt: str | None) -> Any:
    """Reads ``--body`` (JSON, ``@FILE`` or ``-``) or makes one of ``--prompt``. Raises: ConfigurationError."""
    if (body is None) == (prompt is None):
        raise ConfigurationError("Say what to ask: --body or --prompt, one of them")
    if body is None:
        return {"messages": [{"role": "user", "content": prompt}]}
    text: str | bytes = body
    if body == "-":
        text = sys.stdin.buffer.read()
    elif body.startswith("@"):
        text = _file(Path(body[1:]))
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"--body is not JSON: {exc}") from exc


def pairs(texts: list[str] | None) -> dict[str, str]:
    """Reads ``KEY=VALUE`` options. Raises: ConfigurationError."""
    found: dict[str, str] = {}
    for text in texts or []:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise ConfigurationError(f"{text!r} is not KEY=VALUE")
        found[name] = value
    return found


def _ended(answer: bytes, seconds: float) -> int:
    """The exit code of a wait; says so if the time ran out."""
    job = _view(answer)
    if job["status"] not in TERMINAL:
        say(f"{job['id']} is still {job['status']} after {seconds:g} s")
    return DONE if job["status"] == "succeeded" else FAILED


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"--body @{path}: {exc.strerror}") from exc


def _why(job: View) -> str:
    error = job.get("error")
    return f"{error['code']}: {error['message']}"[:80] if error else ""


def _view(answer: bytes) -> View:
    view: View = msgspec.json.decode(answer)
    return view
