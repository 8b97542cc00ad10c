"""The type of a step's column ``output``: from the JSON schema as far as it says, else from the outputs themselves.

A structure is DuckDB's (``json_structure``): a type's name, ``[structure]``, or ``{name: structure}``.
"""

from collections.abc import Mapping
from typing import Any

JSON = "JSON"
TEXT = "VARCHAR"  # where nothing is known
MOST_MEMBERS = 200  # of an object: one with more is a mapping, and stays JSON
_SCALARS = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}
_WHOLE = frozenset({"BIGINT", "UBIGINT"})
_NOTHING = frozenset({"NULL", None})


def structure_of(schema: Any, seen: Any, *, is_vector: bool = False, is_wide: bool = False) -> Any:
    """``seen``: the structure that all outputs together have. Nothing that was answered is left out. ``is_wide``: there
    may be an integer beyond 63 bits.
    """
    if is_vector and seen in (["DOUBLE"], ["UBIGINT"], ["BIGINT"]):
        return ["FLOAT"]  # what models compute with
    merged = _merged(_told(schema), seen)
    return merged if is_wide else _narrowed(merged)


def _narrowed(structure: Any) -> Any:
    """What all other tables have as integers."""
    if isinstance(structure, dict):
        return {name: _narrowed(member) for name, member in structure.items()}
    if isinstance(structure, list):
        return [_narrowed(item) for item in structure]
    return "BIGINT" if structure == "UBIGINT" else structure


def _told(schema: Any) -> Any:
    """What the schema says; None where it leaves it open."""
    if not isinstance(schema, Mapping):
        return None
    kinds = schema.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in kinds if kind != "null"]
        kinds = named[0] if len(named) == 1 else None
    if kinds == "object" or (kinds is None and isinstance(schema.get("properties"), Mapping)):
        members = schema.get("properties")
        return {name: _told(member) for name, member in members.items()} if isinstance(members, Mapping) else {}
    if kinds == "array":
        return [_told(schema.get("items"))]
    return _SCALARS.get(kinds) if isinstance(kinds, str) else None


def _merged(told: Any, seen: Any) -> Any:
    if isinstance(told, dict) and (isinstance(seen, dict) or seen in _NOTHING):
        return _members(told, seen if isinstance(seen, dict) else {})
    if isinstance(seen, dict) and told is None:
        return _members({}, seen)
    if isinstance(told, list) and (isinstance(seen, list) or seen in _NOTHING):
        return [_merged(told[0], seen[0] if isinstance(seen, list) and seen else None)]
    if isinstance(seen, list) and told is None:
        return [_merged(None, seen[0] if seen else None)]
    if seen in _NOTHING:
        return told if isinstance(told, str) else TEXT
    if told == "DOUBLE" and (seen in _WHOLE or seen == "DOUBLE"):
        return told
    if isinstance(seen, str) and told in (None, seen, "BIGINT" if seen in _WHOLE else None):
        return seen
    return JSON


def _members(told: Mapping[str, Any], seen: Mapping[str, Any]) -> Any:
    names = [*told, *(name for name in seen if name not in told)]
    if not names or len(names) > MOST_MEMBERS or len({name.lower() for name in names}) < len(names):
        return JSON  # DuckDB's names are equal in either case
    return {name: _merged(told.get(name), seen.get(name)) for name in names}
