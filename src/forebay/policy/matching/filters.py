"""FilterPolicy: SNS subscription filter policies, by the same matcher. They differ from event patterns in three things:
a field may have one value without an array, numbers are cut after six decimals, and the empty policy takes everything.
"""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from forebay.domain.errors import InvalidPattern, RequestError
from forebay.policy.matching.leaves import LONGEST_NUMBER, Odd, Pairs, Spelled, number, pairs_of, read_json
from forebay.policy.matching.patterns import EventPattern

_MILLIONTH = Decimal("0.000001")
_SINGLE = ("String", "Number", "Binary")
_ARRAY = "String.Array"


class Scope(StrEnum):
    """What of a message a policy is about."""

    ATTRIBUTES = "MessageAttributes"
    BODY = "MessageBody"


class FilterPolicy:
    """A subscription's filter policy. Raises: InvalidPattern; ValueError: the scope is neither of the two.

    >>> FilterPolicy({"store": ["north"]}).matches({"store": {"Type": "String", "Value": "north"}})
    True
    """

    __slots__ = ("_pattern", "_scope")

    def __init__(self, policy: Mapping[str, Any] | str | bytes, scope: str = Scope.ATTRIBUTES) -> None:
        self._scope = Scope(scope)
        try:
            source = read_json(policy) if isinstance(policy, str | bytes) else policy
        except ValueError as exc:
            raise InvalidPattern(f"not valid JSON: {exc}") from exc
        members = pairs_of(source)
        if members is None:
            raise InvalidPattern("a filter policy is an object")
        prepared = _prepared_object(source)
        self._pattern = EventPattern(prepared) if prepared else None

    def matches(self, attributes: Mapping[str, Any] | None = None, message: str | Mapping[str, Any] = "") -> bool:
        """Whether a message passes. ``attributes``: ``{name: {"Type": …, "Value": …}}``, also with the SDK's
        ``DataType`` and ``StringValue``. A body that is no JSON object passes no policy but the empty one.
        """
        if self._pattern is None:
            return True
        if self._scope is Scope.ATTRIBUTES:
            event: Any = {name: _value_of(one) for name, one in (attributes or {}).items()}
            return self._pattern.matches({name: value for name, value in event.items() if value is not None})
        try:
            body = read_json(message) if isinstance(message, str | bytes) else message
            return self._pattern.matches(_cut(body)) if pairs_of(body) is not None else False
        except (ValueError, RequestError):
            return False


def _prepared_object(value: Any) -> Pairs:
    """The object with every field's value in an array, and its numbers cut."""
    pairs = Pairs()
    for name, inner in pairs_of(value) or ():
        if pairs_of(inner) is not None:
            pairs.append((name, _prepared_object(inner)))
        elif isinstance(inner, list | tuple):
            pairs.append((name, [_prepared_alternative(name, one) for one in inner]))
        else:
            pairs.append((name, [_cut(inner)]))
    return pairs


def _prepared_alternative(name: Any, value: Any) -> Any:
    return _prepared_object(value) if name == "$or" and pairs_of(value) is not None else _cut(value)


def _cut(value: Any) -> Any:
    """The value with its numbers cut after six decimals."""
    if (members := pairs_of(value)) is not None:
        return Pairs((name, _cut(inner)) for name, inner in members)
    if isinstance(value, list | tuple):
        return [_cut(one) for one in value]
    if isinstance(value, bool) or not isinstance(value, Spelled | int | float | Decimal):
        return value
    text = str(value)
    if isinstance(number(text), Odd) and len(text) <= LONGEST_NUMBER:
        try:
            return Spelled(format(Decimal(text).quantize(_MILLIONTH, rounding=ROUND_DOWN), "f"))
        except InvalidOperation:
            return Spelled(text)
    return Spelled(text)


def _value_of(attribute: Mapping[str, Any]) -> Any:
    """The JSON value that an attribute stands for; None if it stands for none."""
    kind = attribute.get("Type", attribute.get("DataType"))
    value = attribute.get("Value", attribute.get("StringValue", attribute.get("BinaryValue")))
    base = str(kind).partition(".")[0] if kind != _ARRAY else _ARRAY  # `Number.int` is a Number
    if value is None or base not in (*_SINGLE, _ARRAY):
        return None
    if base == "Number":
        text = str(value)
        try:
            return _cut(Spelled(text)) if Decimal(text).is_finite() else None
        except InvalidOperation:
            return None
    if base == _ARRAY:
        try:
            return _cut(read_json(value) if isinstance(value, str | bytes) else value)
        except ValueError:
            return None
    return value if isinstance(value, str) else str(value)
