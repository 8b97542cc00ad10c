"""Structures of JSON values, as DuckDB tells them (``json_structure``): a type's name, ``[structure]``, or ``{name:
structure}``. Pure.
"""

from typing import Any

MIXED = "JSON"  # of several types
NOTHING = "NULL"
_WHOLE = frozenset({"UBIGINT", "BIGINT"})
_NUMBERS = frozenset({"UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"})


def merged(one: Any, other: Any) -> Any:
    """The structure that values of both have. The members of objects stand in the order in which they came."""
    if one == other or other == NOTHING:
        return one
    if one == NOTHING:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merged(one.get(key, NOTHING), other.get(key, NOTHING)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(_inner(one), _inner(other))]
    if isinstance(one, str) and isinstance(other, str) and {one, other} <= _NUMBERS:
        return "BIGINT" if {one, other} <= _WHOLE else "DOUBLE"
    return MIXED


def _inner(array: list[Any]) -> Any:
    return array[0] if array else NOTHING
