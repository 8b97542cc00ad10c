"""The main job: an input through a model into an output, whole or resumable. The command and `forebay.run` call it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import msgspec

from forebay.runs.backend import Backend
from forebay.runs.execution import Execution, Spent
from forebay.runs.inputs import Input
from forebay.runs.options import RunOptions
from forebay.runs.outputs import write_lines, write_output
from forebay.runs.partial import PartialOutput, errors_path
from forebay.runs.patience import Patience, connected
from forebay.runs.place import closed_sentence
from forebay.runs.prepared import Prepared, prepare
from forebay.runs.progress import Reporter
from forebay.runs.rows import Members, encode, members_of
from forebay.runs.site import Site
from forebay.runs.summary import Summary, usage_view
from forebay.runs.workbook import Row, Workbook


async def execute(
    source: Input,
    options: RunOptions,
    site: Site,
    reporter: Reporter,
    stop: asyncio.Event,
    harvest: Callable[[Prepared], None] | None = None,
) -> Summary:
    """Runs to the end. ``stop`` set: leaves in good order. ``harvest`` may read the results before they are let go.

    Raises: Stopped: the same command goes on; ConfigurationError: nothing was sent; ForebayError: what went wrong.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        workbook = stack.enter_context(Workbook())
        prepared = await asyncio.to_thread(prepare, source, options, site, workbook)
        partial = stack.enter_context(PartialOutput(prepared.output))
        if (closed := closed_sentence(prepared.place, time.time())) is not None:
            reporter.say(closed)
        patience = Patience(reporter, stop)
        async with connected(site, prepared.place, prepared.options, patience) as backend:
            work = Execution(prepared, backend, partial, reporter, stop)
            if options.detach:
                batch_id = await work.leave()
                partial.remove()
                return summarize(prepared, Spent(), time.monotonic() - started_at, batch_id)
            spent = await _work(work, backend)
        await asyncio.to_thread(publish, prepared)
        if harvest is not None:
            harvest(prepared)
        partial.remove()
    return summarize(prepared, spent, time.monotonic() - started_at)


async def _work(work: Execution, backend: Backend) -> Spent:
    earlier = await work.earlier()  # before a worker begins: what it does from here on is this run's
    async with backend.working():
        adopted = await work.recall(earlier)
        with work.showing(adopted):
            spent = Spent()
            if adopted is not None:
                spent = await work.follow(adopted.id, adopted)
            batch_id = await work.submit()
            if batch_id is not None:
                spent = spent.plus(await work.follow(batch_id))
            return spent


def publish(prepared: Prepared) -> None:
    """Writes output and errors, each whole or not at all."""
    write_output(prepared.output, output_rows(prepared), prepared.joiner.columns)
    write_lines(errors_path(prepared.output), error_lines(prepared))


def output_rows(prepared: Prepared) -> Iterator[Members]:
    """The output's rows, in the order of the input."""
    return (prepared.joiner.row(row.record, row.payload) for row in prepared.workbook.rows(is_success=True))


def error_lines(prepared: Prepared) -> Iterator[bytes]:
    """The error file's lines, in the order of the input."""
    return (_error_line(row) for row in prepared.workbook.rows(is_success=False))


def summarize(
    prepared: Prepared, spent: Spent, seconds: float, batch_id: str | msgspec.UnsetType | None = msgspec.UNSET
) -> Summary:
    """The run's numbers."""
    workbook = prepared.workbook
    failed = workbook.count(is_success=False)
    return Summary(
        records=prepared.plan.records,
        succeeded=workbook.count(is_success=True),
        failed=failed,
        reused=workbook.count(is_success=True, is_reused=True) + spent.reused,
        calls=spent.calls,
        usage=usage_view(spent.usage),
        cost_usd=spent.cost_usd,
        seconds=round(seconds, 3),
        output=str(prepared.output),
        errors=str(errors_path(prepared.output)) if failed else None,
        batch=batch_id,
    )


def _error_line(row: Row) -> bytes:
    return encode({"record": row.number, "input": msgspec.Raw(row.record), **members_of(row.payload)})
