"""Steps of kind ``write``: a table as a file, an object or a database's table, which appears whole or not at all."""

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from forebay.connectors.drafts import replacing
from forebay.connectors.drivers import connector
from forebay.connectors.duck import refusal
from forebay.connectors.parquet import known_column, one_table
from forebay.connectors.sinks.duckdb_table import write_duckdb
from forebay.connectors.sinks.files import write_file
from forebay.connectors.sinks.order import Order
from forebay.connectors.sources.databases import database_file
from forebay.connectors.sources.opening import BUCKETS
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.pipeline import SINK_FAILED, Counts, InputFile, StepOutcome, StepOutput, StepWork, TableRef
from forebay.policy.steps.places import render_place, scheme_of
from forebay.policy.steps.write import WriteOptions, read_write
from forebay.policy.templates import compile_text


def run_write(work: StepWork, place: Workplace) -> StepOutcome:
    """Writes the one input. Raises: RequestError (`sink_failed`): what stood there still does; TargetUnavailable."""
    options, table = read_write(work.step.options), one_table(work)
    try:
        if options.path is None:
            written = _into_database(options, table, work, place)
        else:
            shown = render_place(options.path, work.scope)
            write = _object if scheme_of(shown) else _file
            written = write(shown, options, table, work, place)
    except duckdb.Error as exc:
        raise refusal(exc, code=SINK_FAILED, folder=place.folder) from exc
    return StepOutcome(output=StepOutput(files=(written,)), counts=Counts(entered=table.rows, succeeded=table.rows))


def described(path: Path, shown: str) -> InputFile:
    """A file by its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return InputFile(path=shown, bytes=file.tell(), digest=digest)


def _file(shown: str, options: WriteOptions, table: TableRef, work: StepWork, place: Workplace) -> InputFile:
    target = Path(work.folder) / shown
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            _export(draft, options, table, place)
            return described(draft, shown)
    except OSError as exc:
        raise RequestError(f"{shown!r} can't be written: {exc.strerror or exc}", code=SINK_FAILED) from exc


def _object(shown: str, options: WriteOptions, table: TableRef, _work: StepWork, place: Workplace) -> InputFile:
    if scheme_of(shown) not in BUCKETS:
        raise NotSupported(f"{scheme_of(shown)}:// is no place to write to; s3://, gs:// and paths are", param="path")
    path = place.path("object")
    _export(path, options, table, place)
    buckets: Any = connector("bucket sinks")
    told = described(path, shown)
    tag: str = buckets.upload(path, shown, place)
    return msgspec.structs.replace(told, digest=tag or told.digest)


def _export(path: Path, options: WriteOptions, table: TableRef, place: Workplace) -> None:
    with place.connection() as connection:
        write_file(connection, place.local(table.blob_id), table, options.form, path)
    place.stopper.check()


def _into_database(options: WriteOptions, table: TableRef, work: StepWork, place: Workplace) -> InputFile:
    url = compile_text(options.url or "").render_text(work.scope)
    into = compile_text(options.table or "").render_text(work.scope)
    order = Order(
        source=place.local(table.blob_id),
        table=table,
        into=into,
        mode=options.mode,
        key=tuple(known_column(table, one, "key") for one in options.key),
        mark=f"{work.tenant}/{work.run_id}/{work.step.name}",
    )
    match scheme_of(url):
        case "sqlite":
            sqlite: Any = connector("sqlite sinks")
            sqlite.write_sqlite(database_file(url, work.folder), order, place)
        case "duckdb":
            write_duckdb(database_file(url, work.folder), order, place)
        case _:
            postgres: Any = connector("postgresql sinks")
            postgres.write_postgres(url, order, place)
    return InputFile(path=f"{scheme_of(url)} table {into}", bytes=table.bytes, digest=table.digest)
