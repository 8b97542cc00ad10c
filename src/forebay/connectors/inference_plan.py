"""Planning: every record of a step's input rendered, known by its request, and held against what is paid already."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from forebay.connectors.contents import Contents
from forebay.connectors.duck import decode_row, literal, name
from forebay.connectors.inference_files import LinesFile, parquet, rows_of
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import TableRef
from forebay.policy.nearest import hint
from forebay.policy.steps.asking import Asked, Asker

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REFUSED_COLUMNS = "{rn: 'BIGINT', code: 'VARCHAR', message: 'VARCHAR'}"
_PLAN = """
COPY (
  WITH known AS (
    SELECT rn, identity, row_number() OVER (PARTITION BY identity ORDER BY rn) - 1 AS occurrence
    FROM read_csv({known}, header=false, auto_detect=false, columns={{'rn': 'BIGINT', 'identity': 'VARCHAR'}})
  ), keyed AS (
    SELECT rn, identity || CASE occurrence WHEN 0 THEN '' ELSE '-' || occurrence END AS key FROM known
  ), judged AS (
    SELECT rn, key, NULL AS code, NULL AS message, key IN (SELECT key FROM paid) AS is_paid FROM keyed
    UNION ALL
    SELECT rn, NULL, code, message, false
    FROM {refused}
  )
  SELECT *, CASE WHEN key IS NOT NULL AND NOT is_paid
    THEN row_number() OVER (PARTITION BY key IS NOT NULL AND NOT is_paid ORDER BY rn) - 1 END AS place
  FROM judged ORDER BY rn
) TO {plan} (FORMAT parquet, COMPRESSION zstd)
"""
_COUNTS = """
SELECT count(*), count(*) FILTER (code IS NOT NULL), count(*) FILTER (is_paid), count(place) FROM {plan}
"""


class Counted(NamedTuple):
    """Records of a plan."""

    entered: int
    refused: int
    paid: int
    pending: int


def check_columns(asked: Asked, table: TableRef) -> None:
    """Raises: RequestError: the templates name a column that no record has."""
    missing = sorted(asked.columns - table.columns.keys())
    if missing:
        known = ", ".join(table.columns) or "none"
        message = f"No record has the column {missing[0]!r}{hint(missing[0], table.columns)}; there are: {known}"
        raise RequestError(message, param=missing[0], code="template_field_missing")


def write_plan(
    place: Workplace, asked: Asked, table: TableRef, paid: tuple[str, ...], since: float
) -> tuple[Path, Counted]:
    """Renders every record of the table, and writes the plan. Returns its counts too."""
    known, plan = place.path("known.csv"), place.path("plan.parquet")
    refused = LinesFile(place.path("refused.json"))
    earlier = [place.local(blob_id) for blob_id in paid]
    with place.connection() as connection:
        with known.open("wb") as known_file, closing(refused):
            _know(connection, asked, table, place, known_file, refused)
        keys = "SELECT NULL::VARCHAR AS key WHERE false"
        if paid:
            keys = f"SELECT DISTINCT key FROM {parquet(earlier)} WHERE answered_at > {since!r}::DOUBLE"
        connection.execute(f"CREATE TABLE paid AS {keys}")
        connection.execute(
            _PLAN.format(known=literal(known), refused=refused.table(REFUSED_COLUMNS), plan=literal(plan))
        )
        ((entered, unable, reused, left),) = connection.execute(_COUNTS.format(plan=parquet([plan]))).fetchall()
    return plan, Counted(entered, unable, reused, left)


def pending(
    connection: "DuckDBPyConnection", asked: Asked, table: TableRef, files: Sequence[Path], start: int
) -> Iterator[Any]:
    """Keys and records that are to be asked, from a place on. ``files``: the records, and their plan; then, where some
    are asked once more, the failures that say which.
    """
    records, plan, *failures = files
    chosen = f"plan.place >= {start}"
    if failures:
        chosen = f"plan.key IN (SELECT key FROM {parquet(failures)} WHERE is_again)"
    query = (
        f"SELECT plan.key, records.record FROM ({_records(asked, table, records)}) AS records"
        f" JOIN {parquet([plan])} AS plan USING (rn) WHERE {chosen} ORDER BY plan.rn"
    )
    for key, record in rows_of(connection, query + (f" OFFSET {start}" if failures else "")):
        yield key, decode_row(record)


def contents_of(asked: Asked, place: Workplace) -> Contents:
    """Fills in what the templates name of files that records refer to."""
    request = asked.request
    bodies = () if asked.fanout is None else [branch.body for branch in asked.fanout.branches]
    return Contents([request.prompt, request.system, request.body, *bodies], asked.contents, place)


def write_lines(
    asker: Asker, chosen: Iterator[Any], file: BinaryIO, room: tuple[int, int], *, is_alone: bool
) -> tuple[int, int]:
    """Writes OpenAI's lines of as many records as there is room for, in lines and bytes. Returns lines and records."""
    most_lines, most_bytes = room
    lines = records = written = 0
    is_shared = not is_alone and asker.per_call > 1
    while lines < most_lines and written < most_bytes:
        group = list(islice(chosen, asker.per_call if is_shared else 1))
        if not group:
            break
        line = (_shared(asker, group) if is_shared else _alone(asker, *group[0])) + b"\n"
        file.write(line)
        lines, records, written = lines + 1, records + len(group), written + len(line)
    return lines, records


def _alone(asker: Asker, key: str, record: Mapping[str, Any]) -> bytes:
    request = asker.request(record)
    line = {"custom_id": key, "method": "POST", "url": request.endpoint, "body": msgspec.Raw(request.body)}
    return msgspec.json.encode(line)


def _shared(asker: Asker, group: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
    keys = [key for key, _ in group]
    line = {"custom_id": f"{keys[0]}+{len(keys)}", "method": "POST", "url": asker.endpoint}
    body = msgspec.Raw(asker.call([record for _, record in group]))
    return msgspec.json.encode({**line, "body": body, "keys": keys})


def _know(
    connection: "DuckDBPyConnection",
    asked: Asked,
    table: TableRef,
    place: Workplace,
    known: BinaryIO,
    refused: LinesFile,
) -> None:
    asker, contents = Asker(asked), contents_of(asked, place)
    for rn, text in rows_of(connection, _records(asked, table, place.local(table.blob_id))):
        try:
            key = asker.key(asker.request(contents.filled(decode_row(text))))
        except RequestError as error:
            told = {"rn": rn, "code": error.code, "message": error.message}
            refused.write(told)
        else:
            known.write(b"%d,%s\n" % (rn, key.encode()))


def _records(asked: Asked, table: TableRef, path: Path) -> str:
    """The columns that the templates read, as JSON, with the number of each record."""
    read = [column for column in table.columns if asked.sees_all or column in asked.columns]
    members = ", ".join(f"{literal(column)}: {name(column)}" for column in read)
    packed = f"to_json({{{members}}})::VARCHAR" if members else "'{}'"
    source = f"read_parquet({literal(path)}, file_row_number=true)"
    return f"SELECT file_row_number AS rn, {packed} AS record FROM {source}"
