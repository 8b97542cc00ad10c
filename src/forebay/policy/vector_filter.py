"""The filter of a search: which rows of a vector index may match at all, by their metadata. Pure.

``{"lang": "de"}`` equals; ``{"lang": ["de", "at"]}`` any of these; ``{"year": {"gte": 2020, "lt": 2025}}`` lies
between; ``{"draft": {"not": true}}`` and ``{"source": {"exists": true}}``. A name leads into nested objects by
dots. Where the metadata has an array, one of its elements must be so.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.nearest import hint

MOST_CONDITIONS = 32
MOST_VALUES = 1000
MOST_STEPS = 8
Scalar = str | float | bool | None


class Comparison(StrEnum):
    """How a value of the metadata is held against those of the filter."""

    ANY = "any"  # equals one of them
    NOT = "not"  # equals none of them
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EXISTS = "exists"  # the value says whether it must


class Condition(Record, frozen=True, kw_only=True):
    """One condition. ``values``: one, but for ``any`` and ``not``."""

    path: tuple[str, ...]
    comparison: Comparison
    values: tuple[Scalar, ...]


_WRITTEN = {one.value: one for one in Comparison if one is not Comparison.ANY}
_ORDERED = frozenset({Comparison.GT, Comparison.GTE, Comparison.LT, Comparison.LTE})


def read_filter(value: Any, where: str = "filter") -> tuple[Condition, ...]:
    """All conditions must hold. Raises: RequestError, with the place as ``param``."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object such as {lang: de}")
    found = [one for name, asked in value.items() for one in _conditions(name, asked, f"{where}.{name}")]
    if len(found) > MOST_CONDITIONS:
        raise _wrong(where, f"at most {MOST_CONDITIONS} conditions")
    return tuple(found)


def _conditions(name: Any, asked: Any, where: str) -> list[Condition]:
    path = tuple(name.split(".")) if isinstance(name, str) else ()
    if not all(path) or not 1 <= len(path) <= MOST_STEPS or "\0" in name:
        raise _wrong(where, "a name of the metadata, with dots to lead into it")
    if not isinstance(asked, Mapping):
        return [Condition(path=path, comparison=Comparison.ANY, values=_values(asked, where))]
    if not asked:
        raise _wrong(where, f"one of {', '.join(_WRITTEN)}")
    found = []
    for key, operand in asked.items():
        if key not in _WRITTEN:
            raise _wrong(f"{where}.{key}", f"no comparison{hint(str(key), tuple(_WRITTEN))}")
        found.append(_compared(path, _WRITTEN[key], operand, f"{where}.{key}"))
    return found


def _compared(path: tuple[str, ...], comparison: Comparison, operand: Any, where: str) -> Condition:
    if comparison is Comparison.EXISTS and not isinstance(operand, bool):
        raise _wrong(where, "true or false")
    if comparison in _ORDERED and (isinstance(operand, bool) or not isinstance(operand, str | int | float)):
        raise _wrong(where, "a number, or a text such as 2026-01-31")
    return Condition(path=path, comparison=comparison, values=_values(operand, where))


def _values(value: Any, where: str) -> tuple[Scalar, ...]:
    given = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(given) <= MOST_VALUES:
        raise _wrong(where, f"1 to {MOST_VALUES} values")
    for one in given:
        is_scalar = one is None or isinstance(one, str | bool | int | float)
        is_text = isinstance(one, str)
        if not is_scalar or (is_text and "\0" in one) or (isinstance(one, float) and not math.isfinite(one)):
            raise _wrong(where, "texts, numbers, true, false or null")
    return tuple(float(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in given)


def _wrong(where: str, what: str) -> RequestError:
    return RequestError(f"{where}: {what}", param=where)
