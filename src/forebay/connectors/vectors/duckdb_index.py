"""A vector index in a DuckDB file: written aside and renamed, so that who searches never sees half of one."""

import asyncio
import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec

from forebay.connectors.duck import QUIET
from forebay.connectors.duckdb_files import ALONE, DEFAULT_READERS, REASON_CHARACTERS, Connection, DuckFile
from forebay.connectors.vectors.rows import dimensions_of, pieces
from forebay.domain.errors import RequestError, TargetRejected, TargetUnavailable
from forebay.domain.vectors import DOCUMENTS, IndexFacts, VectorMatch, VectorRow, index_facts
from forebay.policy.vector_filter import Comparison, Condition, Scalar

WRITER_MEMORY = "512MB"
_COLUMNS = "id VARCHAR NOT NULL, text VARCHAR, metadata JSON NOT NULL, embedding FLOAT[{dimensions}] NOT NULL"
#: Without a direction there is no cosine: null, and last. (Asked for in WHERE, it would be reckoned twice.)
_NEAREST = (
    "SELECT id, score, text, metadata::VARCHAR FROM (SELECT id, text, metadata, nullif(array_cosine_similarity("
    "embedding, $1::VARCHAR::FLOAT[{dimensions}]), 'nan'::FLOAT) AS score FROM documents WHERE true{wheres})"
    " ORDER BY score DESC NULLS LAST, id LIMIT $2"
)
_OPERATORS = {Comparison.GT: ">", Comparison.GTE: ">=", Comparison.LT: "<", Comparison.LTE: "<="}
_NUMBERS = "('BIGINT', 'UBIGINT', 'DOUBLE', 'HUGEINT')"


class DuckIndex:
    """``VectorIndex`` in a file."""

    def __init__(self, path: Path, *, connections: int | None = None) -> None:
        self._path = path
        self._file = DuckFile(path, f"index {path.name!r}", readers=connections or DEFAULT_READERS)

    async def replace(self, rows: Iterable[VectorRow], *, model: str | None = None) -> IndexFacts:
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._replace, _until(given_up, rows), model, given_up)
        except asyncio.CancelledError:
            given_up.set()  # the thread can't be ended: it leaves the old index, at its next row
            raise

    async def search(
        self, vector: Sequence[float], *, k: int, conditions: Sequence[Condition] = ()
    ) -> list[VectorMatch]:
        return await self._file.read(lambda connection: self._search(connection, vector, k, conditions))

    async def facts(self) -> IndexFacts:
        return await self._file.read(self._facts)

    async def close(self) -> None:
        await self._file.close()

    def _replace(self, rows: Iterable[VectorRow], model: str | None, given_up: threading.Event) -> IndexFacts:
        aside = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            with _writing(aside) as connection:
                facts = _fill(connection, rows, model)
            _sync(aside)
            if given_up.is_set():
                raise _GivenUp
            os.replace(aside, self._path)
            _sync(self._path.parent)
        except duckdb.Error as exc:
            raise self._refused(exc) from exc
        except OSError as exc:
            raise TargetUnavailable(f"index {self._path.name!r} can't be written: {exc.strerror}") from exc
        finally:
            for left in (aside, aside.with_name(aside.name + ".wal")):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
        return facts

    def _refused(self, error: duckdb.Error) -> RequestError | TargetUnavailable:
        text = " ".join(str(error).split()).partition(" LINE ")[0][:REASON_CHARACTERS]
        if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
            return TargetUnavailable(f"index {self._path.name!r} can't be written: {text}")
        return RequestError(f"index {self._path.name!r}: {text}", param="vector")

    def _facts(self, connection: Connection) -> IndexFacts:
        query = "SELECT comment FROM duckdb_tables() WHERE database_name = 'source' AND table_name = ?"
        found = connection.execute(query, [DOCUMENTS]).fetchone()
        facts = index_facts(found[0]) if found else None
        if facts is None:
            raise TargetRejected(f"index {self._path.name!r}: the file is no vector index that this version knows")
        return facts

    def _search(
        self, connection: Connection, vector: Sequence[float], k: int, conditions: Sequence[Condition]
    ) -> list[VectorMatch]:
        facts = self._facts(connection)
        if len(vector) != facts.dimensions:
            message = f"the query's vector has {len(vector)} numbers, those of the index {facts.dimensions}"
            raise TargetRejected(f"index {self._path.name!r}: {message}")
        values: list[object] = [msgspec.json.encode(list(vector)).decode(), k]
        wheres = "".join(f" AND {_rendered(condition, values)}" for condition in conditions)
        query = _NEAREST.format(dimensions=facts.dimensions, wheres=wheres)
        return [
            VectorMatch(id=row[0], score=row[1], text=row[2], metadata=msgspec.Raw(row[3].encode()))
            for row in connection.execute(query, values).fetchall()
            if row[1] is not None
        ]


class _GivenUp(Exception):
    """Nobody waits for the new index."""


def _until(given_up: threading.Event, rows: Iterable[VectorRow]) -> Iterator[VectorRow]:
    for row in rows:
        if given_up.is_set():
            raise _GivenUp
        yield row


@contextmanager
def _writing(aside: Path) -> Iterator[Connection]:
    """A new file; leaving writes all of it out."""
    config = {**ALONE, "memory_limit": WRITER_MEMORY, "preserve_insertion_order": "false"}
    connection: Connection = duckdb.connect(str(aside), config=dict(config))
    try:
        connection.execute(QUIET)
        yield connection
    finally:
        connection.close()


def _fill(connection: Connection, rows: Iterable[VectorRow], model: str | None) -> IndexFacts:
    dimensions = 0
    for piece in pieces(rows):
        if not dimensions:
            dimensions = dimensions_of(piece)
            connection.execute(f"CREATE TABLE {DOCUMENTS} ({_COLUMNS.format(dimensions=dimensions)})")
        connection.execute(
            f"INSERT INTO {DOCUMENTS} SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[])::JSON,"
            f" unnest($4::VARCHAR[])::FLOAT[{dimensions}]",
            list(piece),
        )
    if not dimensions:
        raise RequestError("the index would have no rows", param="rows")
    twice = connection.execute(f"SELECT id FROM {DOCUMENTS} GROUP BY id HAVING count(*) > 1 LIMIT 1").fetchone()  # noqa: S608
    if twice:
        raise RequestError(f"two rows of the index have the id {twice[0]!r}", param="id")
    unlike = connection.execute(
        f"SELECT id FROM {DOCUMENTS} WHERE len(list_filter(embedding::FLOAT[], lambda one: one IS NULL"  # noqa: S608
        " OR NOT isfinite(one))) > 0 LIMIT 1"
    ).fetchone()
    if unlike:
        raise RequestError(f"the vector of row {unlike[0]!r} has what is no number", param="vector")
    counted = connection.execute(f"SELECT count(*) FROM {DOCUMENTS}").fetchone()  # noqa: S608
    facts = IndexFacts(dimensions=dimensions, rows=counted[0] if counted else 0, model=model, created_at=time.time())
    text = msgspec.json.encode(facts).decode().replace("'", "''")
    connection.execute(f"COMMENT ON TABLE {DOCUMENTS} IS '{text}'")
    return facts


def _rendered(condition: Condition, values: list[object]) -> str:
    """The condition in SQL; what it holds against goes to ``values``."""
    found = f"json_extract(metadata, {_bound(_pointer(condition.path), values)})"
    if condition.comparison is Comparison.EXISTS:
        return f"{found} IS {'NOT ' if condition.values[0] else ''}NULL"
    elements = f"CASE json_type({found}) WHEN 'ARRAY' THEN json_extract({found}, '$[*]') ELSE [{found}] END"
    operator = _OPERATORS.get(condition.comparison, "=")
    tests = " OR ".join(_test(value, operator, values) for value in condition.values)
    is_met = f"coalesce(len(list_filter({elements}, lambda one: {tests})), 0) > 0"
    return f"NOT ({is_met})" if condition.comparison is Comparison.NOT else f"({is_met})"


def _test(value: Scalar, operator: str, values: list[object]) -> str:
    match value:
        case None:
            return "json_type(one) = 'NULL'"
        case bool():
            return f"(json_type(one) = 'BOOLEAN' AND (one ->> '$') = '{str(value).lower()}')"
        case str():
            return f"(json_type(one) = 'VARCHAR' AND (one ->> '$') {operator} {_bound(value, values)})"
    number = f"try_cast(one ->> '$' AS DOUBLE) {operator} {_bound(value, values)}::DOUBLE"
    return f"(json_type(one) IN {_NUMBERS} AND {number})"


def _bound(value: object, values: list[object]) -> str:
    values.append(value)
    return f"${len(values)}"


def _pointer(path: tuple[str, ...]) -> str:
    """A JSON pointer. Source: RFC 6901."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
