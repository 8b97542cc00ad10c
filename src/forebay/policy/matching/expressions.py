"""Match expressions: ``{"prefix": …}`` and its kind, read into conditions; what is refused, and where."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from forebay.domain.errors import InvalidPattern
from forebay.policy.matching.conditions import (
    AnythingBut,
    Condition,
    Exists,
    Folded,
    Network,
    Prefix,
    Span,
    Suffix,
    Wildcard,
    address_of,
)
from forebay.policy.matching.leaves import LARGEST, Leaf, is_number, leaf_of, pairs_of

IGNORE_CASE = "equals-ignore-case"
MOST_ASTERISKS = 5  # the service refuses more as too complex
Path = tuple[str | int, ...]
Read = Condition | str | None  # a string: that very value; None: the field is absent


def read_expression(members: Iterable[tuple[Any, Any]], path: Path) -> Read:
    """Reads the one member of a match expression. Raises: InvalidPattern."""
    name, value = _only_member(members, path)
    reader = _READERS.get(name)
    if reader is None:
        raise InvalidPattern(f"{name!r} is no match type; known are {', '.join(_READERS)}", path)
    return reader(value, (*path, name))


def _only_member(members: Iterable[tuple[Any, Any]], path: Path) -> tuple[Any, Any]:
    found = list(members)
    if len(found) != 1:
        raise InvalidPattern("a match expression has exactly one key", path)
    return found[0]


def _string(value: Any, path: Path) -> str:
    leaf = _scalar(value)
    if not isinstance(leaf, str):
        raise InvalidPattern("the value is a string", path)
    return leaf


def _scalar(value: Any) -> Leaf | None:
    try:
        return leaf_of(value)
    except TypeError:
        return None


def _prefix(value: Any, path: Path) -> Condition:
    folded = _ignoring_case(value, path)
    return Prefix(_string(value, path)) if folded is None else Folded(folded, is_open_after=True)


def _suffix(value: Any, path: Path) -> Condition:
    folded = _ignoring_case(value, path)
    return Suffix(_string(value, path)) if folded is None else Folded(folded, is_open_before=True)


def _ignoring_case(value: Any, path: Path) -> str | None:
    """The text of a nested ``equals-ignore-case``; None where nothing is nested."""
    members = pairs_of(value)
    if members is None:
        return None
    name, inner = _only_member(members, path)
    if name != IGNORE_CASE:
        raise InvalidPattern(f"{name!r} can't stand here, {IGNORE_CASE!r} alone can", path)
    return _string(inner, (*path, IGNORE_CASE))


def _folded(value: Any, path: Path) -> Condition:
    return Folded(_string(value, path))


def _wildcard(value: Any, path: Path) -> Wildcard:
    text = _string(value, path)
    parts, part, at = [], "", 0
    while at < len(text):
        mark = text[at]
        if mark == "*":
            if text[at + 1 : at + 2] == "*":
                raise InvalidPattern(f"two asterisks in a row at {at}", path)
            parts.append(part)
            part = ""
        elif mark == "\\":
            at += 1
            if text[at : at + 1] not in {"*", "\\"}:
                raise InvalidPattern(f"a backslash at {at - 1} that is followed by neither '*' nor a backslash", path)
            part += text[at]
        else:
            part += mark
        at += 1
    if len(parts) > MOST_ASTERISKS:
        raise InvalidPattern(f"too complex: more than {MOST_ASTERISKS} asterisks", path)
    return Wildcard((*parts, part))


def _numeric(value: Any, path: Path) -> Condition:
    if not isinstance(value, list | tuple):
        raise InvalidPattern("the value is an array of operators and numbers", path)
    if len(value) not in {2, 4}:
        raise InvalidPattern("one comparison, or a lower bound and an upper one", path)
    operator, limit = _string(value[0], (*path, 0)), _limit(value[1], (*path, 1))
    if len(value) == 4:
        return _between(operator, limit, value, path)
    spans = {
        "=": Span(limit, limit),
        "<": Span(-LARGEST, limit, is_open_high=True),
        "<=": Span(-LARGEST, limit),
        ">": Span(limit, LARGEST, is_open_low=True),
        ">=": Span(limit, LARGEST),
    }
    if operator not in spans:
        raise InvalidPattern(f"{operator!r} is none of {' '.join(spans)}", (*path, 0))
    return spans[operator]


def _between(low_operator: str, low: int, value: Sequence[Any], path: Path) -> Condition:
    high_operator, high = _string(value[2], (*path, 2)), _limit(value[3], (*path, 3))
    if low_operator not in {">", ">="} or high_operator not in {"<", "<="}:
        raise InvalidPattern("a range is > or >= and then < or <=", path)
    if low >= high:
        raise InvalidPattern("the lower bound is not below the upper one", path)
    return Span(low, high, is_open_low=low_operator == ">", is_open_high=high_operator == "<")


def _limit(value: Any, path: Path) -> int:
    leaf = _scalar(value)
    if leaf is None or not is_number(leaf):
        raise InvalidPattern("the value is a number", path)
    if not isinstance(leaf, int):
        raise InvalidPattern(f"a number has at most six decimals and lies within ±{LARGEST // 10**6:,}", path)
    return leaf


def _cidr(value: Any, path: Path) -> Condition:
    text = _string(value, path)
    base, slash, bits = text.partition("/")
    address = address_of(base)
    if address is None or not slash or not bits.isascii() or not bits.isdigit():
        raise InvalidPattern("the value is an address, a slash and the number of its leading bits", path)
    width, low = address
    if int(bits[:4]) >= width:
        raise InvalidPattern(f"fewer than {width} bits are the network's", path)
    rest = (1 << (width - int(bits))) - 1
    return Network(width, low & ~rest, low | rest)


def _exists(value: Any, path: Path) -> Condition | None:
    if not isinstance(value, bool):
        raise InvalidPattern("the value is true or false", path)
    return Exists() if value else None


def _anything_but(value: Any, path: Path) -> Condition:
    members = pairs_of(value)
    if members is not None:
        name, inner = _only_member(members, path)
        if name not in _NEGATED:
            raise InvalidPattern(f"{name!r} is none of {', '.join(_NEGATED)}", path)
        values = inner if isinstance(inner, list | tuple) else (inner,)
        return AnythingBut(others=tuple(_negated(name, one, (*path, name)) for one in values))
    values = value if isinstance(value, list | tuple) else (value,)
    leaves = [_scalar(one) for one in values]
    if not leaves or not (all(isinstance(one, str) for one in leaves) or all(isinstance(one, int) for one in leaves)):
        raise InvalidPattern("the value is a string or a number, or several of one of them", path)
    return AnythingBut(leaves=frozenset(leaf for leaf in leaves if leaf is not None))


def _negated(name: str, value: Any, path: Path) -> Condition:
    text = _string(value, path)
    if not text and name in {"prefix", "suffix"}:
        raise InvalidPattern("the value may not be empty", path)
    return _NEGATED[name](text, path)


def _exactly(value: Any, path: Path) -> str:
    return _string(value, path)


_NEGATED: dict[str, Callable[[Any, Path], Condition]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
    IGNORE_CASE: _folded,
}
_READERS: dict[Any, Callable[[Any, Path], Read]] = {
    "exactly": _exactly,
    "prefix": _prefix,
    "suffix": _suffix,
    IGNORE_CASE: _folded,
    "wildcard": _wildcard,
    "numeric": _numeric,
    "anything-but": _anything_but,
    "exists": _exists,
    "cidr": _cidr,
}
