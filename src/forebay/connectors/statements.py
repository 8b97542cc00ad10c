"""SQL of steps, read before it is run: that it is one SELECT, which relations it reads, which values it asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from forebay.connectors.drivers import connector
from forebay.domain.errors import RequestError
from forebay.policy.steps.sql import SCOPES

_NOWHERE = 2**64 - 1  # DuckDB's location of what stands nowhere in the text


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """``text``: without a semicolon at its end. ``tables``: the relations that it reads and does not make, in the
    order of the text; ``scopes``: which of ``$run`` and ``$params`` it names.
    """

    text: str
    tables: tuple[str, ...]
    scopes: tuple[str, ...]


def tables_of(query: str) -> tuple[str, ...]:
    """The names of the relations that the query reads, in their order. Raises: RequestError, with line and column."""
    return read_statement(query).tables


def read_statement(query: str) -> Statement:
    """Raises: RequestError: it is no SQL, or not one SELECT, or asks for values that are not there."""
    duckdb = connector("duckdb library")
    with duckdb.connect() as connection:
        ((text,),) = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchall()
    tree = msgspec.json.decode(text)
    if tree["error"]:
        raise _refused(query, tree)
    if len(tree["statements"]) != 1:
        raise _wrong("must be one SELECT, and this is " + (f"{len(tree['statements'])} of them" if query else "none"))
    (statement,) = tree["statements"]
    found = sorted(_relations(statement["node"], frozenset()), key=lambda found: found[0])
    for location, path in found:
        if len(path) > 1:
            raise _wrong(f"{_place(query, location)}: {'.'.join(path)!r} names no step: they stand in no schema")
    scopes = tuple(one["key"] for one in statement["named_param_map"])
    for name in scopes:
        if name not in SCOPES:
            raise _wrong(f"asks for ${name}; it may name $run and $params, as in $params.least")
    return Statement(text=_without_end(query), tables=tuple(dict.fromkeys(path[0] for _, path in found)), scopes=scopes)


def _without_end(query: str) -> str:
    """A statement may stand within another one without its semicolon."""
    encoded = query.encode()
    for place, _ in connector("duckdb library").tokenize(query):
        if encoded[place : place + 1] == b";":
            return encoded[:place].decode()
    return query


def _refused(query: str, tree: dict[str, Any]) -> RequestError:
    if tree["error_type"] == "not implemented":
        is_pivot = "pivot" in query.lower()
        way_out = "; a PIVOT has to name its values: PIVOT t ON column IN (1, 2) USING …" if is_pivot else ""
        return _wrong(f"must be a SELECT{way_out}")
    position = tree.get("position")
    place = "" if position is None else f"{_place(query, int(position))}: "
    return _wrong(place + str(tree["error_message"]).partition("\n")[0])


def _wrong(message: str) -> RequestError:
    return RequestError(message, param="query")


def _place(query: str, position: int) -> str:
    """``position`` counts bytes."""
    if position >= _NOWHERE:
        return "line 1"
    before = query.encode()[:position].decode(errors="ignore")
    return f"line {before.count(chr(10)) + 1}, column {len(before.rpartition(chr(10))[2]) + 1}"


def _relations(node: Any, known: frozenset[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The relations below a node with their places; ``known`` are those that the statement makes itself, in lower case
    as SQL compares names.
    """
    if isinstance(node, list):
        for member in node:
            yield from _relations(member, known)
        return
    if not isinstance(node, dict):
        return
    if node.get("type") == "BASE_TABLE":
        path = tuple(node["qualified_name"]["path"])
        if len(path) > 1 or path[0].lower() not in known:
            yield node["query_location"], path
        return
    for made in node.get("cte_map", {}).get("map", ()):
        name = made["key"].lower()
        inner = made["value"]["query_node"]
        yield from _relations(inner, known | {name} if inner["type"] == "RECURSIVE_CTE_NODE" else known)
        known |= {name}
    for key, member in node.items():
        if key != "cte_map":
            yield from _relations(member, known)
