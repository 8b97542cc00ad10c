"""The data of steps that ask models, over DuckDB: see RequestTables."""

from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from forebay.connectors.duck import literal, name
from forebay.connectors.inference_answers import count_shared, read_answers
from forebay.connectors.inference_files import parquet
from forebay.connectors.inference_gather import gather, write_kept
from forebay.connectors.inference_plan import check_columns, contents_of, pending, write_lines, write_plan
from forebay.connectors.parquet import keep_table
from forebay.connectors.tables import DuckTables
from forebay.connectors.workplace import Workplace
from forebay.domain.asking import Planned
from forebay.domain.pipeline import StepOutput, TableRef
from forebay.policy.expectation import Estimating
from forebay.policy.output_text import decode_answer
from forebay.policy.steps.asking import Asked, Asker
from forebay.ports.asking import Answers, BatchLines, Calls, Gathering, Span

MOST_ROWS_IN_A_PROMPT = 200


class DuckRequests:
    """``RequestTables`` in the workplaces of tables."""

    def __init__(self, tables: DuckTables) -> None:
        self._tables = tables

    async def of_scope(self, inputs: Mapping[str, StepOutput]) -> TableRef:
        return await self._tables.working(partial(_of_scope, inputs))

    async def plan(self, asked: Asked, table: TableRef, paid: tuple[str, ...], since: float = 0.0) -> Planned:
        check_columns(asked, table)
        return await self._tables.working(partial(_plan, asked, table, paid, since))

    async def calls(self, asked: Asked, table: TableRef, span: Span) -> Calls:
        return await self._tables.working(partial(_calls, asked, table, span))

    async def estimate(self, asked: Asked, table: TableRef, planned: Planned, estimating: Estimating) -> None:
        await self._tables.working(partial(_estimate, asked, table, planned, estimating))

    async def answers(self, lines: BatchLines) -> Answers:
        return await self._tables.working(partial(_answers, lines))

    async def shared(self, planned: Planned, input_blob_id: str) -> int:
        def count(place: Workplace) -> int:
            return count_shared(place, place.local(planned.blob_id), place.local(input_blob_id))

        return await self._tables.working(count)

    async def gather(self, gathering: Gathering) -> StepOutput:
        return await self._tables.working(partial(_gather, gathering))

    async def keep(self, planned: Planned, paid: tuple[str, ...], now: float, unused_seconds: float) -> str | None:
        def rewrite(place: Workplace) -> str | None:
            path = write_kept(place, planned, paid, (now, unused_seconds))
            return None if path is None else place.keep(path).id

        return await self._tables.working(rewrite)


def _of_scope(inputs: Mapping[str, StepOutput], place: Workplace) -> TableRef:
    path = place.path("scope.parquet")
    shown = {called: _shown(place, output) for called, output in inputs.items()}
    members = ", ".join(f"{literal(text)}::JSON AS {name(called)}" for called, text in shown.items())
    with place.connection() as connection:
        connection.execute(f"COPY (SELECT {members or '1 AS once'}) TO {literal(path)} (FORMAT parquet)")
    return keep_table(place, path)


def _plan(asked: Asked, table: TableRef, paid: tuple[str, ...], since: float, place: Workplace) -> Planned:
    path, counted = write_plan(place, asked, table, paid, since)
    blob = place.keep(path)
    return Planned(blob_id=blob.id, bytes=blob.bytes, **counted._asdict())


def _calls(asked: Asked, table: TableRef, span: Span, place: Workplace) -> Calls:
    files = [place.local(one) for one in (table.blob_id, span.planned.blob_id, *span.again)]
    path = place.path("calls.json")
    with place.connection() as connection, path.open("wb") as file:
        contents = contents_of(asked, place)
        found = pending(connection, asked, table, files, span.start)
        chosen = ((key, contents.filled(record)) for key, record in found)
        room = (span.most_lines, span.most_bytes)
        lines, records = write_lines(Asker(asked), chosen, file, room, is_alone=bool(span.again))
    return Calls(blob=place.keep(path), lines=lines, records=records)


def _estimate(asked: Asked, table: TableRef, planned: Planned, estimating: Estimating, place: Workplace) -> None:
    asker = Asker(asked)
    files = [place.local(table.blob_id), place.local(planned.blob_id)]
    with place.connection() as connection:
        contents = contents_of(asked, place)
        chosen = (contents.filled(record) for _, record in pending(connection, asked, table, files, 0))
        while group := list(islice(chosen, asked.per_call)):
            estimating.add(asker.sent(group))


def _answers(lines: BatchLines, place: Workplace) -> Answers:
    read, table, failures = read_answers(place, lines)
    return Answers(
        table=place.keep(table).id if read.answered else None,
        failures=place.keep(failures) if read.failed or read.again else None,
        answered=read.answered,
        failed=read.failed,
        again=read.again,
        calls=read.calls,
        codes=dict(read.codes),
    )


def _gather(gathering: Gathering, place: Workplace) -> StepOutput:
    table, rejected = gather(place, gathering)
    value = _value(place, table) if gathering.is_once else None
    made, left = keep_table(place, table), keep_table(place, rejected)
    return StepOutput(table=made, rejected=left if left.rows else None, value=value)


def _shown(place: Workplace, output: StepOutput) -> str:
    """An input as a template sees it, JSON: its value, or the first rows of its table."""
    if output.value is not None or output.table is None:
        return msgspec.json.encode(output.value).decode()
    path = place.local(output.table.blob_id)
    query = f"SELECT to_json(rows)::VARCHAR FROM {parquet([path])} AS rows LIMIT {MOST_ROWS_IN_A_PROMPT}"
    with place.connection() as connection:
        rows = connection.execute(query).fetchall()
    return msgspec.json.encode([decode_answer(text) for (text,) in rows]).decode()


def _value(place: Workplace, path: Path) -> Any:
    query = f"SELECT to_json({{'output': output}})::VARCHAR FROM {parquet([path])} LIMIT 1"
    with place.connection() as connection:
        rows = connection.execute(query).fetchall()
    return decode_answer(rows[0][0])["output"] if rows else None
