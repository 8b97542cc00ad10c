"""Gathering: records and their answers joined in the order of the input, and paid answers made one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from forebay.connectors.duck import literal, name
from forebay.connectors.inference_answers import latest
from forebay.connectors.inference_files import parquet
from forebay.connectors.inference_types import structure_of
from forebay.connectors.json_lines import common_structure
from forebay.connectors.parquet import copy_out, group_rows
from forebay.connectors.workplace import Workplace
from forebay.domain.asking import Planned
from forebay.domain.pipeline import TableRef
from forebay.policy.requests import kept_names
from forebay.ports.asking import Gathering

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OUTPUT, BRANCHES, ERROR = "output", "branches", "error"
FRESH_SECONDS = 86_400.0  # so old may the mark of use be on an answer that is in use
_NO_FAILURE = "SELECT NULL::VARCHAR AS key, NULL::VARCHAR AS code, NULL::VARCHAR AS message WHERE false"
_UNDONE = "It was not asked to its end"


def gather(place: Workplace, gathering: Gathering) -> tuple[Path, Path]:
    """Writes two tables: the records with their outputs, and those without, each with the reason."""
    table, rejected = place.path("table.parquet"), place.path("rejected.parquet")
    records = place.local(gathering.table.blob_id)
    paid = latest([place.local(blob_id) for blob_id in gathering.paid])
    failures = [place.local(blob_id) for blob_id in gathering.failures]
    with place.connection() as connection:
        connection.execute(
            f"CREATE TABLE joined AS SELECT plan.rn, plan.key, paid.output, paid.branches, plan.code, plan.message"
            f" FROM {parquet([place.local(gathering.planned.blob_id)])} AS plan LEFT JOIN ({paid}) AS paid"
            f" ON paid.key = plan.key AND paid.answered_at >= {gathering.since!r}::DOUBLE"
        )
        rows = group_rows(connection, [records])
        copy_out(connection, _succeeded(gathering, records, _structure(connection, gathering)), table, rows=rows)
        copy_out(connection, _left(gathering, records, failures), rejected, rows=rows)
    return table, rejected


def _succeeded(gathering: Gathering, records: Path, structure: str) -> str:
    added = (OUTPUT, BRANCHES) if gathering.has_branches else (OUTPUT,)
    chosen = [f"from_json(joined.output::JSON, {literal(structure)}) AS {OUTPUT}"]
    chosen += [f"joined.branches::JSON AS {BRANCHES}"] if gathering.has_branches else []
    kept = [] if gathering.is_once else _columns(gathering.table, added)
    return (
        f"SELECT {', '.join([*kept, *chosen])} FROM {_numbered(records)} AS records"
        " JOIN joined ON joined.rn = records.file_row_number WHERE joined.output IS NOT NULL ORDER BY joined.rn"
    )


def _left(gathering: Gathering, records: Path, failures: Sequence[Path]) -> str:
    failed = _NO_FAILURE
    if failures:  # what was asked once more has two: the later is the one that stays
        failed = (
            f"SELECT key, code, message FROM {parquet(failures)}"
            " QUALIFY row_number() OVER (PARTITION BY key ORDER BY is_again, code, message) = 1"
        )
    code = "coalesce(joined.code, failed.code, 'cancelled')"
    message = f"coalesce(joined.message, failed.message, {literal(_UNDONE)})"
    return (
        f"SELECT {', '.join(_columns(gathering.table, (ERROR,)))}, {{'code': {code}, 'message': {message}}} AS {ERROR}"
        f" FROM {_numbered(records)} AS records JOIN joined ON joined.rn = records.file_row_number"
        f" LEFT JOIN ({failed}) AS failed ON failed.key = joined.key"
        " WHERE joined.output IS NULL ORDER BY joined.rn"
    )


def _numbered(path: Path) -> str:
    return f"read_parquet({literal(path)}, file_row_number=true)"


def write_kept(place: Workplace, planned: Planned, paid: tuple[str, ...], times: tuple[float, float]) -> Path | None:
    """One table of the paid answers; None where there is nothing to change. ``times``: now, and how long an answer
    may be unused.
    """
    now, unused_seconds = times
    tables = [place.local(blob_id) for blob_id in paid]
    asked = f"key IN (SELECT key FROM {parquet([place.local(planned.blob_id)])} WHERE key IS NOT NULL)"
    used = f"CASE WHEN {asked} THEN {now!r}::DOUBLE ELSE used_at END"
    stays = f"{used} >= {now - unused_seconds!r}::DOUBLE"
    path = place.path("kept.parquet")
    with place.connection() as connection:
        if len(tables) == 1:
            stale = f"({asked} AND used_at < {now - FRESH_SECONDS!r}::DOUBLE) OR NOT ({stays})"
            ((changes,),) = connection.execute(f"SELECT count(*) FILTER ({stale}) FROM {parquet(tables)}").fetchall()
            if not changes:
                return None
        kept = f"SELECT * REPLACE ({used} AS used_at) FROM ({latest(tables)}) WHERE {stays}"
        copy_out(connection, kept, path, rows=group_rows(connection, tables))
    return path


def _structure(connection: "DuckDBPyConnection", gathering: Gathering) -> str:
    structure = common_structure(connection, "SELECT output::JSON AS json FROM joined WHERE output IS NOT NULL")
    wide = "SELECT count(*) FILTER (regexp_matches(output, '[0-9]{19}')) > 0 FROM joined"
    ((is_wide,),) = connection.execute(wide).fetchall()
    told = structure_of(gathering.schema, structure, is_vector=gathering.is_vector, is_wide=is_wide)
    return msgspec.json.encode(told).decode()


def _columns(table: TableRef, added: tuple[str, ...]) -> list[str]:
    names = kept_names(tuple(table.columns), added)
    return [f"records.{name(column)} AS {name(names.get(column, column))}" for column in table.columns]
