"""A dry run of a pipeline, shown: steps as a table, the whole, and a sample of rendered requests."""

import msgspec
import typer

from forebay.cli.failures import FAILED, say
from forebay.cli.remote import print_fields, print_json, print_table
from forebay.engine.handlers.pipeline.expecting import Forecast, Foreseen, StepForecast

COLUMNS = ("step", "kind", "", "records", "paid", "to send", "refused", "input tokens", "output at most", "USD at most")


def show_forecast(forecast: Forecast, *, as_json: bool) -> None:
    """Prints it. Exit 1 if a step would fail."""
    if as_json:
        print_json(msgspec.json.encode(forecast))
    else:
        print_table(COLUMNS, [_row(step) for step in forecast.steps], empty="No steps.")
        print()
        print_fields(
            {
                "to send": forecast.to_send,
                "tokens": f"{forecast.input_tokens:,} in, up to {forecast.output_tokens:,} out",
                "cost": "unknown" if forecast.cost_usd is None else f"up to {forecast.cost_usd:.4f} USD",
                "known": "all" if forecast.is_whole else "up to what models say: later steps depend on it",
            }
        )
        for step in forecast.steps:
            for request in step.expectation.requests if step.expectation else ():
                print(f"{step.name}: {msgspec.json.encode(request).decode()}")
    failed = [step for step in forecast.steps if step.status is Foreseen.FAILED]
    for step in failed:
        say(f"{step.name}: {step.problem}")
    if failed:
        raise typer.Exit(FAILED)


def _row(step: StepForecast) -> tuple[str, ...]:
    known = step.expectation
    if known is None:
        records = "-" if step.records is None else f"{step.records:,}"
        return (step.name, step.kind, step.status, records, "-", "-", "-", "-", "-", "-")
    cost = "-" if known.cost_usd is None else f"{known.cost_usd:.4f}"
    numbers = (known.records, known.already_paid, known.to_send, known.refused, known.input_tokens, known.output_tokens)
    return (step.name, step.kind, step.status, *[f"{number:,}" for number in numbers], cost)
