"""Leaves: the values of patterns and events, in a form in which two compare as the service compares them.

A string is a ``str``, a number an ``int`` of millionths, or ``Odd`` where it can't be one. Source: EventBridge compares
numbers to six decimals; what has more, or is too large, is equal to its own spelling alone.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

DECIMALS = 6
LARGEST = 500_000_000_000 * 10**DECIMALS  # of either sign
LONGEST_NUMBER = 400  # characters; a longer one is compared by its spelling


class Literal(Enum):
    """JSON's three names. No ``bool``: ``True`` would be equal to a millionth."""

    TRUE = "true"
    FALSE = "false"
    NULL = "null"


class Odd(NamedTuple):
    """A number of more than six decimals, or beyond the range."""

    text: str


class Spelled(str):
    """A number of a JSON text, as it is written there."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object of a JSON text, with every key that it repeats."""


Leaf = str | int | Odd | Literal
Source = Mapping[str, Any] | Pairs | str | bytes  # an object, or the JSON text of one


def read_json(text: str | bytes) -> Any:
    """Parses a JSON text into pairs, lists, strings, spelled numbers, booleans and None. Raises: ValueError."""
    try:
        return json.loads(text, parse_int=Spelled, parse_float=Spelled, parse_constant=_refuse, object_pairs_hook=Pairs)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def pairs_of(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The members of an object; None of anything else."""
    if type(value) is Pairs:
        return value
    return value.items() if isinstance(value, Mapping) else None


def leaf_of(value: Any) -> Leaf:
    """The leaf that a value is. Raises: TypeError: it is nothing that JSON has, or an array or object."""
    if isinstance(value, Spelled):
        return number(value)
    if isinstance(value, str):
        return value
    if value is None:
        return Literal.NULL
    if isinstance(value, bool):
        return Literal.TRUE if value else Literal.FALSE
    if isinstance(value, int | float | Decimal):
        return number(str(value))
    raise TypeError(f"{type(value).__name__} is no JSON value")


def is_number(leaf: Leaf) -> bool:
    return isinstance(leaf, int | Odd)


@lru_cache(maxsize=4096)
def number(text: str) -> int | Odd:
    """The number that is written so."""
    if len(text) > LONGEST_NUMBER:
        return Odd(text)
    try:
        _, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        return Odd(text)
    whole = "".join(map(str, digits)).rstrip("0") if isinstance(exponent, int) else None
    if whole is None:
        return Odd(text)  # NaN or infinite: no JSON
    if not whole.strip("0"):
        return 0
    shift = int(exponent) + len(digits) - len(whole) + DECIMALS
    if shift < 0 or len(whole) + shift > len(str(LARGEST)):
        return Odd(text)
    millionths: int = int(whole) * 10**shift
    if millionths > LARGEST:
        return Odd(text)
    return -millionths if text.startswith("-") else millionths


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
