"""Compiling: an event pattern's JSON into sub-rules, each a set of fields that must all hold (``$or`` multiplies them).

Source: EventBridge's content filtering, and aws/event-ruler 2.0, whose answers the vectors record.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from forebay.domain.errors import InvalidPattern
from forebay.policy.matching.conditions import Condition, Network, address_of
from forebay.policy.matching.expressions import read_expression
from forebay.policy.matching.leaves import Leaf, Source, leaf_of, pairs_of, read_json

OR = "$or"
MOST_SUB_RULES = 1000  # EventBridge's own bound of combinations
_RESERVED = frozenset(
    {
        *("exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr"),
        *("html", "=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case"),
        *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
        *("ip-address-in-range", "ip-address-not-in-range"),
    }
)


@dataclass(frozen=True, slots=True)
class FieldTest:
    """What one field must be: one of these leaves, or one for which a condition holds; or absent, where it may be."""

    leaves: frozenset[Leaf]
    conditions: tuple[Condition, ...]
    may_be_absent: bool

    def holds(self, leaf: Leaf) -> bool:
        return leaf in self.leaves or any(one.holds(leaf) for one in self.conditions)


SubRule = tuple[tuple[str, FieldTest], ...]  # in the order of names


def compile_pattern(pattern: Source) -> tuple[SubRule, ...]:
    """Compiles a pattern, given as JSON's text or as an object. Raises: InvalidPattern."""
    try:
        source = read_json(pattern) if isinstance(pattern, str | bytes) else pattern
    except ValueError as exc:
        raise InvalidPattern(f"not valid JSON: {exc}") from exc
    members = pairs_of(source)
    if members is None:
        raise InvalidPattern("a pattern is an object")
    try:
        rules = _read_object(members, (), [{}], is_in_or=False)
    except RecursionError as exc:
        raise InvalidPattern("nested too deeply") from exc
    return tuple(tuple(sorted(rule.items())) for rule in rules)


Rules = list[dict[str, FieldTest]]


def _read_object(members: Iterable[tuple[Any, Any]], path: tuple[str, ...], rules: Rules, *, is_in_or: bool) -> Rules:
    is_empty = True
    for name, value in members:
        is_empty = False
        if not isinstance(name, str):
            raise InvalidPattern("the name of a field is a string", path)
        here = (*path, name)
        if name == OR:
            rules = _read_or(value, path, rules)
        elif is_in_or and name in _RESERVED:
            raise InvalidPattern(f"{name!r} is a reserved word within {OR}", here)
        elif (inner := pairs_of(value)) is not None:
            rules = _read_object(inner, here, rules, is_in_or=is_in_or)
        elif isinstance(value, list | tuple):
            test = _read_values(value, here)
            rules = [rule | {".".join(here): test} for rule in rules]
        else:
            raise InvalidPattern("a field's value is an object or an array of what it may be", here)
    if is_empty:
        raise InvalidPattern("an object may not be empty", path)
    return rules


def _read_or(value: Any, path: tuple[str, ...], rules: Rules) -> Rules:
    here = (*path, OR)
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise InvalidPattern(f"{OR} is an array of two or more objects", here)
    found: Rules = []
    for place, one in enumerate(value):
        members = pairs_of(one)
        if members is None:
            raise InvalidPattern(f"{OR} is an array of objects alone", (*here, place))
        found += _read_object(members, path, rules, is_in_or=True)
        if len(found) > MOST_SUB_RULES:
            raise InvalidPattern(f"more than {MOST_SUB_RULES:,} combinations of {OR}", here)
    return found


def _read_values(values: list[Any] | tuple[Any, ...], path: tuple[str, ...]) -> FieldTest:
    if not values:
        raise InvalidPattern("an array of values may not be empty", path)
    leaves: set[Leaf] = set()
    conditions: list[Condition] = []
    may_be_absent = False
    for place, value in enumerate(values):
        members = pairs_of(value)
        if members is None:
            leaf = _read_leaf(value, (*path, place))
            address = address_of(leaf) if isinstance(leaf, str) else None
            if address is None:
                leaves.add(leaf)
            else:  # one address has many spellings
                conditions.append(Network(address[0], address[1], address[1]))
            continue
        condition = read_expression(members, (*path, place))
        if isinstance(condition, str):
            leaves.add(condition)
        elif condition is None:
            may_be_absent = True
        else:
            conditions.append(condition)
    return FieldTest(frozenset(leaves), tuple(conditions), may_be_absent)


def _read_leaf(value: Any, path: tuple[str | int, ...]) -> Leaf:
    try:
        return leaf_of(value)
    except TypeError as exc:
        raise InvalidPattern("a value is a string, a number, true, false, null or a match expression", path) from exc
