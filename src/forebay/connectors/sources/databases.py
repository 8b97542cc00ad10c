"""Queries to databases as tables: streamed from the server in batches, values bound by the driver."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forebay.connectors.drivers import connector
from forebay.connectors.duck import literal
from forebay.connectors.parquet import copy_out, scanned
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED, StepWork
from forebay.policy.sql_text import Statement, read_statement
from forebay.policy.steps.places import scheme_of
from forebay.policy.steps.read import DatabaseQuery
from forebay.policy.templates import compile_body, compile_text


def read_database(asked: DatabaseQuery, work: StepWork, place: Workplace, result: Path) -> None:
    """Writes the rows of a query as Parquet. Raises: RequestError, TargetRejected, TargetUnavailable, duckdb.Error."""
    url = compile_text(asked.url).render_text(work.scope)
    statement = read_statement(asked.query)
    values = _values(statement, asked, work.scope)
    match scheme_of(url):
        case "sqlite":
            sqlite: Any = connector("sqlite rows")
            sqlite.read_sqlite(database_file(url, work.folder), statement, values, place, result)
        case "duckdb":
            _read_duckdb(database_file(url, work.folder), statement, values, place, result)
        case _:
            postgres: Any = connector("postgresql rows")
            postgres.read_postgres(url, statement, values, place, result)


def database_file(url: str, folder: str) -> Path:
    """``sqlite:///file.db`` is relative to the folder, ``sqlite:////file.db`` is not."""
    return Path(folder) / url.partition("://")[2].removeprefix("/")


def _values(statement: Statement, asked: DatabaseQuery, scope: Mapping[str, Any]) -> dict[str, Any]:
    args = {**scope.get("params", {}), **compile_body(asked.args).render(scope)}
    for name in statement.names:
        if name not in args:
            raise RequestError(f"the query asks for :{name}, which is no argument and no parameter", param="query")
    return {name: args[name] for name in statement.names}


def _read_duckdb(path: Path, statement: Statement, values: dict[str, Any], place: Workplace, result: Path) -> None:
    if not path.is_file():
        raise RequestError(f"{path.name!r} does not exist", code=SOURCE_FAILED)
    with place.connection() as connection:
        rows = scanned(connection)
        connection.execute(f"ATTACH {literal(path)} AS source (READ_ONLY)")
        connection.execute("USE source")
        connection.execute(f"SET allowed_paths = [{literal(path)}, {literal(result)}]")
        connection.execute("SET enable_external_access = false")
        text = statement.with_places(lambda _, name: f"${name}")
        copy_out(connection, text, result, values, rows=rows)
