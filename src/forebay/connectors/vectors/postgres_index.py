"""A vector index in a table of PostgreSQL: made beside the old one and renamed in the same transaction.

Where the database has the extension pgvector the embeddings are its ``vector``; else arrays of ``real``, which SQL
compares one by one.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

import msgspec

from forebay.connectors.postgres import DEFAULT_CONNECTIONS, Connection, PostgresPool
from forebay.connectors.vectors.rows import dimensions_of, pieces
from forebay.domain.errors import RequestError, TargetRejected
from forebay.domain.vectors import IndexFacts, VectorMatch, VectorRow, index_facts
from forebay.policy.vector_filter import Comparison, Condition, Scalar

_OPERATORS = {Comparison.GT: ">", Comparison.GTE: ">=", Comparison.LT: "<", Comparison.LTE: "<="}
#: The cosine of two arrays, null where one has no direction.
_COSINE = (
    "(SELECT sum(a::float8 * b) / nullif(sqrt(sum(a::float8 * a) * sum(b::float8 * b)), 0)"
    " FROM unnest(embedding, $1::real[]) AS pairs (a, b))"
)
_NEAREST = (
    "SELECT id, score, text, metadata::text FROM (SELECT id, text, metadata, {score} AS score FROM {table}"
    " WHERE true{wheres}) AS scored WHERE score IS NOT NULL AND score <> 'NaN' ORDER BY score DESC, id COLLATE \"C\""
    " LIMIT $2"
)
_FOUND = (
    "SELECT obj_description(c.oid, 'pg_class') AS comment, format_type(a.atttypid, NULL) AS type FROM pg_class c"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'embedding' WHERE c.oid = to_regclass($1)"
)


class PostgresIndex:
    """``VectorIndex`` in a table."""

    def __init__(self, url: str, table: str, *, connections: int | None = None) -> None:
        self._name = f"index {table!r}"
        self._pool = PostgresPool(url, self._name, connections=connections or DEFAULT_CONNECTIONS)
        self._table = ".".join(f'"{step}"' for step in table.split("."))
        self._last = table.rpartition(".")[2]

    async def replace(self, rows: Iterable[VectorRow], *, model: str | None = None) -> IndexFacts:
        beside = f'{self._table[:-1]}__new"'
        try:
            async with self._pool.connection() as connection, connection.transaction():
                # Two who replace at once take turns.
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", self._table)
                await connection.execute(f"DROP TABLE IF EXISTS {beside}")
                facts = await _fill(connection, beside, rows, model)
                await connection.execute(f"DROP TABLE IF EXISTS {self._table}")
                await connection.execute(f'ALTER TABLE {beside} RENAME TO "{self._last}"')
        except TargetRejected as exc:
            raise RequestError(exc.message, param="rows") from exc
        return facts

    async def search(
        self, vector: Sequence[float], *, k: int, conditions: Sequence[Condition] = ()
    ) -> list[VectorMatch]:
        async with self._pool.connection() as connection, connection.transaction(readonly=True):
            facts, kind = await self._found(connection)
            if len(vector) != facts.dimensions:
                message = f"the query's vector has {len(vector)} numbers, those of the index {facts.dimensions}"
                raise TargetRejected(f"{self._name}: {message}")
            text = msgspec.json.encode(list(vector)).decode()
            values: list[object] = [text if kind == "vector" else list(vector), k]
            wheres = "".join(f" AND {_rendered(condition, values)}" for condition in conditions)
            score = "1 - (embedding <=> $1::text::vector)" if kind == "vector" else _COSINE
            found = await connection.fetch(_NEAREST.format(score=score, table=self._table, wheres=wheres), *values)
        return [
            VectorMatch(id=row[0], score=row[1], text=row[2], metadata=msgspec.Raw(row[3].encode())) for row in found
        ]

    async def facts(self) -> IndexFacts:
        async with self._pool.connection() as connection:
            return (await self._found(connection))[0]

    async def close(self) -> None:
        await self._pool.close()

    async def _found(self, connection: Connection) -> tuple[IndexFacts, str]:
        row = await connection.fetchrow(_FOUND, self._table)
        facts = index_facts(row["comment"]) if row is not None else None
        if facts is None:
            raise TargetRejected(f"{self._name}: there is no such table, or it is no vector index")
        return facts, row["type"].rpartition(".")[2]


async def _fill(connection: Connection, table: str, rows: Iterable[VectorRow], model: str | None) -> IndexFacts:
    kind = "vector" if await connection.fetchval("SELECT to_regtype('vector') IS NOT NULL") else "real[]"
    source, dimensions, count = pieces(rows), 0, 0
    while piece := await asyncio.to_thread(next, source, None):
        if not dimensions:
            dimensions = dimensions_of(piece)
            await connection.execute(_made(table, kind, dimensions))
        await connection.execute(
            f"INSERT INTO {table} SELECT id, text, metadata::jsonb, translate(vector, $5, $6)::{kind}"  # noqa: S608 - names of ours
            " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS piece (id, text, metadata, vector)",
            *piece,
            *(("", "") if kind == "vector" else ("[]", "{}")),
        )
        count += len(piece.ids)
    if not count:
        raise RequestError("the index would have no rows", param="rows")
    facts = IndexFacts(dimensions=dimensions, rows=count, model=model, created_at=time.time())
    text = msgspec.json.encode(facts).decode().replace("'", "''")
    await connection.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    return facts


def _made(table: str, kind: str, dimensions: int) -> str:
    if kind == "vector":
        embedding = f"vector({dimensions}) NOT NULL"
    else:
        embedding = (
            f"real[] NOT NULL CHECK (cardinality(embedding) = {dimensions} AND array_position(embedding, NULL) IS NULL"
            " AND NOT embedding && ARRAY['NaN', 'Infinity', '-Infinity']::real[])"
        )
    return (
        f'CREATE TABLE {table} (id text COLLATE "C" NOT NULL UNIQUE, text text, metadata jsonb NOT NULL,'
        f" embedding {embedding})"
    )


def _rendered(condition: Condition, values: list[object]) -> str:
    """The condition in SQL; what it holds against goes to ``values``."""
    values.append(list(condition.path))
    found = f"(metadata #> ${len(values)}::text[])"
    if condition.comparison is Comparison.EXISTS:
        return f"{found} IS {'NOT ' if condition.values[0] else ''}NULL"
    elements = (
        f"jsonb_array_elements(CASE jsonb_typeof({found}) WHEN 'array' THEN {found}"
        f" ELSE jsonb_build_array({found}) END)"
    )
    operator = _OPERATORS.get(condition.comparison, "=")
    tests = " OR ".join(_test(value, operator, values) for value in condition.values)
    is_met = f"({found} IS NOT NULL AND EXISTS (SELECT FROM {elements} AS each (one) WHERE {tests}))"
    return f"NOT {is_met}" if condition.comparison is Comparison.NOT else is_met


def _test(value: Scalar, operator: str, values: list[object]) -> str:
    match value:
        case None:
            return "one = 'null'::jsonb"
        case bool():
            return f"one = '{str(value).lower()}'::jsonb"
    values.append(value)
    kind, cast = ("string", 'text COLLATE "C"') if isinstance(value, str) else ("number", "float8")
    held = f"CASE jsonb_typeof(one) WHEN '{kind}' THEN (one #>> '{{}}')::{cast} END"
    return f"({held}) {operator} ${len(values)}::{cast.partition(' ')[0]}"
