"""`forebay mock-model`: an OpenAI- and Anthropic-compatible model that costs nothing, with faults on demand."""

import signal
from typing import Annotated

import typer
from msgspec import structs

from forebay.cli.options import options_of
from forebay.domain.errors import ConfigurationError, RequestError
from forebay.testing.mock_model import Fault, MockModel, MockOptions, Move, Told, moves_of, serve


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("mock-model", epilog="Example: forebay mock-model --port 8702 --latency-ms 20 --fault 0.1")(mock_model)


def mock_model(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 8702,
    latency_ms: Annotated[float, typer.Option(help="How long an answer takes.", min=0)] = 0.0,
    jitter: Annotated[float, typer.Option(help="The share of the latency that varies.", min=0, max=1)] = 0.0,
    fault: Annotated[float, typer.Option(metavar="RATE", help="The share of calls that fail.", min=0, max=1)] = 0.0,
    fault_kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help=f"Which faults: {', '.join(Fault)}; may be repeated.")
    ] = None,
    rpm: Annotated[float | None, typer.Option(help="Requests a minute; more are answered 429.", min=0.001)] = None,
    tpm: Annotated[float | None, typer.Option(help="Tokens a minute; more are answered 429.", min=0.001)] = None,
    burst: Annotated[
        float, typer.Option(metavar="SECONDS", help="How much of a minute's allowance may come at once.", min=0, max=60)
    ] = 1.0,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N[@S,…]", help="More calls at once are answered 429; 37@0,12@30: 12 after 30 seconds."),
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(help="More calls at once share it: their latency grows in proportion.", min=1)
    ] = None,
    overload: Annotated[int | None, typer.Option(help="More calls at once are answered 503.", min=1)] = None,
    retry_after: Annotated[float, typer.Option(metavar="SECONDS", help="Said with a 429 or 503.", min=0)] = 1.0,
    told: Annotated[
        Told, typer.Option(help="What is said of the limits: x-ratelimit-* and Retry-After, the latter, or nothing.")
    ] = Told.ALL,
    api_key: Annotated[str | None, typer.Option(help="Ask for this key.")] = None,
    chat_only: Annotated[bool, typer.Option("--chat-only", help="Serve no /v1/responses, as many servers.")] = False,
    model: Annotated[list[str] | None, typer.Option(help="A name that /v1/models lists; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of jitter and faults.")] = 0,
) -> None:
    """Run a mock model: deterministic answers, limits and faults on demand. GET /mock/calls tells what it was sent."""
    as_json = options_of(context).as_json
    options = MockOptions(
        latency_ms=latency_ms,
        jitter=jitter,
        fault_rate=fault,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        burst_seconds=burst,
        capacity=capacity,
        overload=overload,
        retry_after_seconds=retry_after,
        told=told,
        api_key=api_key,
        chat_only=chat_only,
        seed=seed,
    )
    if concurrency is not None:
        options = _replaced(options, moves=_moves(concurrency))
    if fault_kind:
        options = _replaced(options, faults=tuple(_fault(name) for name in fault_kind))
    if model:
        options = _replaced(options, models=tuple(model))

    def announce(mock: MockModel) -> None:
        typer.echo(f'{{"base_url": "{mock.base_url}"}}' if as_json else f"mock model at {mock.base_url}")

    try:
        asked = serve(options, host=host, port=port, on_ready=announce)
    except OSError as exc:
        raise ConfigurationError(
            f"Can't listen on {host}:{port}: {exc.strerror or exc}; choose another --port"
        ) from exc
    if asked is signal.SIGINT:
        raise typer.Abort


def _moves(text: str) -> tuple[Move, ...]:
    try:
        return moves_of(text)
    except RequestError as exc:
        raise ConfigurationError(f"--concurrency: {exc.message}") from exc


def _fault(name: str) -> Fault:
    try:
        return Fault(name)
    except ValueError as exc:
        raise ConfigurationError(f"No fault is named {name!r}; there are: {', '.join(Fault)}") from exc


def _replaced(options: MockOptions, **changes: object) -> MockOptions:
    return structs.replace(options, **changes)
