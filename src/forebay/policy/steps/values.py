"""Typed values among a step's options; every refusal names its option."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from forebay.domain.errors import RequestError
from forebay.policy.nearest import hint

Choice = TypeVar("Choice", bound=StrEnum)
_TYPE = re.compile(r"[\w (),\[\]\"]{1,500}")  # which of them DuckDB knows, it says itself


def choice(options: Mapping[str, Any], name: str, kind: type[Choice], default: Choice | None = None) -> Choice | None:
    """One of a closed set. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return default
    known = [member.value for member in kind]
    if value not in known:
        told = hint(str(value), known) or f"; it may be {', '.join(known)}"
        raise RequestError(f"has no {value!r}{told}", param=name)
    return kind(value)


def flag(options: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """true or false. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise RequestError(f"must be true or false, not {value!r}", param=name)
    return value


def whole(options: Mapping[str, Any], name: str, *, least: int = 0) -> int | None:
    """A whole number. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(f"must be a whole number of at least {least}, not {value!r}", param=name)
    return value


def names(options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts, or one text alone. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, Sequence) or not all(isinstance(one, str) and one and "\0" not in one for one in found):
        raise RequestError("must be a text, or a list of texts", param=name)
    if len(set(found)) != len(found):
        raise RequestError("names one twice", param=name)
    return tuple(found)


def optional_text(options: Mapping[str, Any], name: str) -> str | None:
    """A text, if it is there. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise RequestError(f"must be a text, not {value!r}", param=name)
    return value


def column_types(options: Mapping[str, Any]) -> dict[str, str]:
    """``columns``: names and DuckDB's types. Raises: RequestError."""
    columns = options.get("columns", {})
    if not isinstance(columns, Mapping) or not all(isinstance(kind, str) for kind in columns.values()):
        raise RequestError("must be a mapping of names to types, such as {price: DOUBLE}", param="columns")
    for kind in columns.values():
        if not _TYPE.fullmatch(kind):
            raise RequestError(
                f"has no type {kind!r}; there are VARCHAR, BIGINT, DOUBLE, DATE and others", param="columns"
            )
    return {str(name): kind for name, kind in columns.items()}
