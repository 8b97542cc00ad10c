"""Conditions: one thing that a pattern may ask of a leaf."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Protocol

from forebay.policy.matching.leaves import Leaf

_IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_IPV6 = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*")
LONGEST_ADDRESS = 64


class Condition(Protocol):
    """What is asked of one leaf."""

    def holds(self, leaf: Leaf) -> bool: ...


@dataclass(frozen=True, slots=True)
class Prefix:
    text: str

    def holds(self, leaf: Leaf) -> bool:
        return isinstance(leaf, str) and leaf.startswith(self.text)


@dataclass(frozen=True, slots=True)
class Suffix:
    text: str

    def holds(self, leaf: Leaf) -> bool:
        return isinstance(leaf, str) and leaf.endswith(self.text)


@dataclass(frozen=True, slots=True)
class Folded:
    """``equals-ignore-case``; with an end left open a prefix or a suffix."""

    text: str
    is_open_before: bool = False
    is_open_after: bool = False

    def holds(self, leaf: Leaf) -> bool:
        return isinstance(leaf, str) and _folding(self)(leaf) is not None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The literal parts between the asterisks: two at least, or a single one that is the whole string."""

    parts: tuple[str, ...]

    def holds(self, leaf: Leaf) -> bool:
        if not isinstance(leaf, str):
            return False
        if len(self.parts) == 1:
            return leaf == self.parts[0]
        first, *between, last = self.parts
        if len(leaf) < len(first) + len(last) or not leaf.startswith(first) or not leaf.endswith(last):
            return False
        at, end = len(first), len(leaf) - len(last)
        for part in between:  # the leftmost place leaves the most for those that follow
            found = leaf.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers, in millionths; an open bound is left out."""

    low: int
    high: int
    is_open_low: bool = False
    is_open_high: bool = False

    def holds(self, leaf: Leaf) -> bool:
        if not isinstance(leaf, int):
            return False
        return self.low + self.is_open_low <= leaf <= self.high - self.is_open_high


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of one family from ``low`` to ``high``. ``bits`` is 32 or 128."""

    bits: int
    low: int
    high: int

    def holds(self, leaf: Leaf) -> bool:
        address = address_of(leaf) if isinstance(leaf, str) else None
        return address is not None and address[0] == self.bits and self.low <= address[1] <= self.high


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """Any leaf for which none of these holds."""

    leaves: frozenset[Leaf] = frozenset()
    others: tuple[Condition, ...] = ()

    def holds(self, leaf: Leaf) -> bool:
        return leaf not in self.leaves and not any(one.holds(leaf) for one in self.others)


@dataclass(frozen=True, slots=True)
class Exists:
    def holds(self, leaf: Leaf) -> bool:
        del leaf
        return True


def address_of(text: str) -> tuple[int, int] | None:
    """The bits and the value of an IP address that is written literally; None of anything else.

    As in the service: IPv4 parts may have leading zeros and are decimal, a mapped IPv4 address is that one.
    """
    if len(text) > LONGEST_ADDRESS:
        return None
    if _IPV4.fullmatch(text):
        parts = [int(part) for part in text.split(".")]
        return (32, int.from_bytes(bytes(parts), "big")) if max(parts) < 256 else None
    if ":" in text and _IPV6.fullmatch(text):
        try:
            found = IPv6Address(text)
        except ValueError:
            return None
        return (32, int(found.ipv4_mapped)) if found.ipv4_mapped else (128, int(found))
    return None


@lru_cache(maxsize=16_384)
def _folding(condition: Folded) -> Callable[[str], re.Match[str] | None]:
    before = "(?s:.*)" if condition.is_open_before else ""
    after = "(?s:.*)" if condition.is_open_after else ""
    if condition.text.isascii():
        body = f"(?ai:{re.escape(condition.text)})"
    else:
        body = "".join(map(_either_case, condition.text))
    return re.compile(before + body + after).fullmatch


def _either_case(character: str) -> str:
    return f"(?:{re.escape(character.lower())}|{re.escape(character.upper())})"
