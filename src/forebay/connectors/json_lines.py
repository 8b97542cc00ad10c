"""JSON lines as tables: types follow the values of all lines, so that no late one is a surprise.

Text stays text (no dates are guessed), objects are structs, what is of several types is JSON.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from forebay.connectors.drivers import connector
from forebay.connectors.duck import free_name, literal, name
from forebay.policy.json_structures import NOTHING, merged

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
LONGEST_LINE_BYTES = 64 * 1024 * 1024
STRUCTURES_AT_ONCE = 1000
INTEGERS = ("BIGINT", "UBIGINT", "DOUBLE")  # as they are tried
Structure = dict[str, object]


def structure_of(
    connection: "DuckDBPyConnection", paths: list[Path], *, longest: int = LONGEST_LINE_BYTES
) -> Structure:
    """The types of all members of all lines, as DuckDB tells them; lines that are no objects are passed over.

    Raises: duckdb.Error.
    """
    source = f"read_ndjson_objects({listed(paths)}, ignore_errors = true, maximum_object_size = {longest})"
    objects = f"SELECT CASE WHEN json_type(json) = 'OBJECT' THEN json END AS json FROM {source}"
    found = common_structure(connection, objects)  # a WHERE would gather 2048 lines at a time, however long
    return found if isinstance(found, dict) else {}  # no object has a member


def common_structure(connection: "DuckDBPyConnection", values: str) -> Any:
    """The structure that all values of a query's column ``json`` have, null apart. Flat in memory, which DuckDB's own
    json_group_structure is not: rows of one structure are counted once.

    Raises: duckdb.Error.
    """
    told = f"SELECT json_structure(json)::VARCHAR AS told, row_number() OVER () AS number FROM ({values})"
    found = connection.execute(f"SELECT told FROM ({told}) GROUP BY told ORDER BY min(number)")
    structure: Any = NOTHING
    while rows := found.fetchmany(STRUCTURES_AT_ONCE):
        for (text,) in rows:
            structure = merged(structure, NOTHING if text is None else msgspec.json.decode(text))
    return structure


def types_of(structure: Structure, columns: Iterable[str], integer: str = "BIGINT") -> dict[str, str]:
    """The types of the columns; text where nothing is known."""
    return {column: _type(structure.get(column, "NULL"), integer) for column in columns}


def lines_query(paths: list[Path], types: dict[str, str], *, longest: int = LONGEST_LINE_BYTES) -> str:
    """The query of all lines as rows; each must be an object. Names that SQL does not tell apart get another one."""
    if _are_apart(types):
        columns = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in types.items())
        options = (
            f"format = 'newline_delimited', records = true, columns = {{{columns}}}, maximum_object_size = {longest}"
        )
        return f"SELECT * FROM read_json({listed(paths)}, {options})"
    taken: list[str] = []
    members = []
    for column, kind in types.items():
        taken.append(free_name(column or "column", taken))
        members.append(f"{_member(column, kind)} AS {name(taken[-1])}")
    source = f"read_ndjson_objects({listed(paths)}, maximum_object_size = {longest})"
    return f"SELECT {', '.join(members)} FROM {source}"


def fitting(attempt: Callable[[str], T]) -> T:
    """Calls with the type of integers that holds them: those beyond 64 bits with a sign have another one."""
    for integer in INTEGERS:
        try:
            return attempt(integer)
        except connector("duckdb library").InvalidInputException:
            if integer == INTEGERS[-1]:
                raise
    raise AssertionError


def listed(paths: list[Path]) -> str:
    """Paths as a list in SQL."""
    return "[" + ", ".join(literal(path) for path in paths) + "]"


def _are_apart(types: Iterable[str]) -> bool:
    names = [column.lower() for column in types]
    return "" not in names and len(set(names)) == len(names)


def _member(column: str, kind: str) -> str:
    """A member of an object by its exact name."""
    pointer = literal("/" + column.replace("~", "~0").replace("/", "~1"))
    return f"json->>{pointer}" if kind == "VARCHAR" else f"CAST(json->{pointer} AS {kind})"


def _type(shape: object, integer: str) -> str:
    """DuckDB's structure of values as a type; text where it knows none."""
    match shape:
        case dict() if not _are_apart(shape):
            return "JSON"
        case dict():
            members = ", ".join(f"{name(key)} {_type(inner, integer)}" for key, inner in shape.items())
            return f"STRUCT({members})" if members else "JSON"
        case [inner]:
            return f"{_type(inner, integer)}[]"
        case "NULL":
            return "VARCHAR"
        case "UBIGINT":
            return integer
        case "BIGINT" if integer == INTEGERS[-1]:
            return integer
        case _:
            return str(shape)
