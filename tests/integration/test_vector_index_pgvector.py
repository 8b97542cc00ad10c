"""The index in a database that has pgvector's type, which is used there.

A stand-in of its interface (text in, text out, a length, the operator of the cosine distance) in SQL: Debian's own
PostgreSQL has no pgvector. It shows that our statements are right in form and meaning; how fast they are is pgvector's.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from forebay.connectors.vectors import open_index
from forebay.domain.errors import RequestError
from forebay.domain.vectors import VectorRow
from forebay.policy.vector_filter import read_filter
from forebay.ports import VectorIndex
from tests.integration.postgres_house import server

DATABASE = "with_vectors"
STAND_IN = """
CREATE TYPE vector;
CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION vector_length_in(cstring[]) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodin';
CREATE FUNCTION vector_length_out(integer) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodout';
CREATE TYPE vector
  (INPUT = vector_in, OUTPUT = vector_out, TYPMOD_IN = vector_length_in, TYPMOD_OUT = vector_length_out);
CREATE FUNCTION vector_numbers(vector) RETURNS float8[] LANGUAGE sql IMMUTABLE STRICT
  AS $$ SELECT translate(vector_out($1)::text, '[]', '{}')::float8[] $$;
CREATE FUNCTION vector_sized(vector, integer, boolean) RETURNS vector LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  IF cardinality(vector_numbers($1)) <> $2 - 4 THEN RAISE EXCEPTION 'expected % dimensions', $2 - 4; END IF;
  RETURN $1;
END $$;
CREATE CAST (vector AS vector) WITH FUNCTION vector_sized(vector, integer, boolean) AS IMPLICIT;
CREATE FUNCTION cosine_distance(vector, vector) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT CASE WHEN sqrt(sum(a * a) * sum(b * b)) = 0 THEN 'NaN'::float8
              ELSE 1 - sum(a * b) / sqrt(sum(a * a) * sum(b * b)) END
  FROM unnest(vector_numbers($1), vector_numbers($2)) AS pairs (a, b) $$;
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance);
"""
ROWS = [
    VectorRow(id="a", vector=[1, 0], text="A", metadata={"lang": "de"}),
    VectorRow(id="b", vector="[0.6, 0.8]", metadata={"lang": "en"}),
    VectorRow(id="zero", vector=[0, 0]),
]


@pytest.fixture
async def index() -> AsyncIterator[VectorIndex]:
    connection = await asyncpg.connect(server().url())
    await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await connection.execute(f"CREATE DATABASE {DATABASE}")
    await connection.close()
    url = server().url(DATABASE)
    connection = await asyncpg.connect(url)
    await connection.execute(STAND_IN)
    await connection.close()
    opened = open_index(url, table="public.articles")
    yield opened
    await opened.close()


async def test_vectors_are_kept_in_its_type_and_compared_by_its_operator(index: VectorIndex) -> None:
    facts = await index.replace(iter(ROWS), model="m")
    assert await index.facts() == facts
    connection = await asyncpg.connect(server().url(DATABASE))
    column = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'articles'::regclass"
    assert await connection.fetchval(f"{column} AND attname = 'embedding'") == "vector(2)"
    await connection.close()
    found = await index.search([2, 0], k=5)
    assert [(one.id, one.score) for one in found] == [("a", pytest.approx(1)), ("b", pytest.approx(0.6))]
    assert [one.id for one in await index.search([1, 0], k=5, conditions=read_filter({"lang": "en"}))] == ["b"]


async def test_vectors_of_unlike_lengths_are_refused_and_the_old_index_stays(index: VectorIndex) -> None:
    await index.replace(ROWS)
    with pytest.raises(RequestError, match="2 dimensions"):
        await index.replace([VectorRow(id="a", vector=[1, 2]), VectorRow(id="b", vector=[1, 2, 3])])
    await index.replace(ROWS[:2])
    assert [one.id for one in await index.search([1, 0], k=5)] == ["a", "b"]
