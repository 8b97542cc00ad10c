"""Which relations a query reads."""

import pytest

from forebay.connectors.statements import read_statement, tables_of
from forebay.domain.errors import RequestError


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT a.x FROM t1 a JOIN t2 b ON a.id = b.id WHERE EXISTS (SELECT 1 FROM t3)", ("t1", "t2", "t3")),
        ("WITH q AS (SELECT * FROM load) SELECT * FROM q UNION ALL SELECT * FROM other, Q", ("load", "other")),
        ("WITH load AS (SELECT * FROM load WHERE x) SELECT * FROM load", ("load",)),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r, a", ("a",)),
        ("SELECT * FROM (WITH q AS (SELECT * FROM inner_one) FROM q), q", ("inner_one", "q")),
        ("FROM load SELECT x", ("load",)),
        ("SUMMARIZE load", ("load",)),
        ("PIVOT load ON x IN (1, 2) USING sum(y)", ("load",)),
        ("SELECT 1", ()),
        ("SELECT * FROM \"my step\", 'files'", ("my step", "files")),
        ("SELECT (SELECT max(x) FROM b) FROM a", ("b", "a")),
    ],
)
def test_relations_are_named_in_their_order(query: str, tables: tuple[str, ...]) -> None:
    assert tables_of(query) == tables


def test_a_statement_tells_which_values_it_asks_for() -> None:
    statement = read_statement("SELECT $run.date, $params.least, ';' AS s FROM load -- ;\n ; -- end")
    assert sorted(statement.scopes) == ["params", "run"]
    assert statement.text == "SELECT $run.date, $params.least, ';' AS s FROM load -- ;\n "


@pytest.mark.parametrize(
    ("query", "place"), [("SELECT FROM WHERE", "line 1, column 13"), ("SELECT 'ü'\n= = 3", "line 2, column 3")]
)
def test_what_does_not_parse_is_told_by_line_and_column(query: str, place: str) -> None:
    with pytest.raises(RequestError, match=place) as raised:
        tables_of(query)
    assert raised.value.param == "query"


@pytest.mark.parametrize("query", ["", "DROP TABLE load", "SELECT ?", "SELECT $1", "COPY load TO 'x'"])
def test_what_is_no_query_over_steps_is_refused(query: str) -> None:
    with pytest.raises(RequestError):
        tables_of(query)
