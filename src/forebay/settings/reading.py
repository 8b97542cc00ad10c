"""Typed reading of a configuration's items: every mismatch becomes a Problem with its line and key."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from forebay.policy.durations import LONGEST_SECONDS, duration_seconds
from forebay.policy.nearest import hint
from forebay.settings.source import Item, Problem

T = TypeVar("T")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|[kKMG]B|[KMG]iB)", re.ASCII)
_UNIT_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
LONGEST_MESSAGE = 800  # characters: it may repeat a value
EMPTY = Item({}, None, "")
NOTHING = Item(None, None, "")


class Reader:
    """Reads one mapping; gathers what is wrong into ``problems``. A wrong value reads as its default."""

    def __init__(self, item: Item, problems: list[Problem]) -> None:
        self.problems = problems
        self.item = item
        self.items: Mapping[str, Item] = {}
        self.is_mapping = True
        if isinstance(item.value, dict):
            self.items = item.value
        elif item.value is not None:
            self.is_mapping = False
            self.wrong(item, f"must be a mapping, not {_kind(item.value)}")

    def wrong(self, item: Item, message: str) -> None:
        shown = message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
        self.problems.append(Problem(item.line, item.key, shown))

    def only(self, known: Iterable[str]) -> None:
        """Refuses keys that are not known."""
        names = list(known)
        for name, item in self.items.items():
            if name not in names:
                self.wrong(item, f"unknown key{hint(name, names) or '; known: ' + ', '.join(names)}")

    def text(self, name: str) -> str | None:
        return self._typed(name, str, "text")

    def flag(self, name: str) -> bool | None:
        return self._typed(name, bool, "true or false")

    def number(self, name: str, *, least: float = 0.0) -> float | None:
        item = self.items.get(name)
        if item is None or item.value is None:
            return None
        value = _number(item.value)
        if value is None or not math.isfinite(value) or value < least:
            self.wrong(item, f"must be a number of at least {least:g}, not {item.value!r}")
            return None
        return value

    def whole(self, name: str, *, least: int = 0) -> int | None:
        value = self.number(name, least=least)
        if value is not None and value != int(value):
            self.wrong(self.items[name], f"must be a whole number, not {value!r}")
            return None
        return None if value is None else int(value)

    def size(self, name: str) -> int | None:
        """A number of bytes, or a text such as ``16MiB`` or ``4GB``."""
        item = self.items.get(name)
        if item is None or not isinstance(item.value, str) or _number(item.value) is not None:
            return self.whole(name, least=1)
        found = _SIZE.fullmatch(item.value.strip())
        if found is None or not (count := int(float(found.group(1)) * _UNIT_BYTES[found.group(2).lower()])):
            self.wrong(item, f"must be a size such as 16MiB or 4GB, not {item.value!r}")
            return None
        return count

    def seconds(self, name: str) -> float | None:
        """A duration (``15m``) or a number of seconds."""
        item = self.items.get(name)
        if item is None or item.value is None:
            return None
        value = _number(item.value)
        if value is None and isinstance(item.value, str):
            value = duration_seconds(item.value)
        if value is None or not 0 < value <= LONGEST_SECONDS:
            self.wrong(item, f"must be a duration such as 90s, 15m, 24h or 7d, not {item.value!r}")
            return None
        return value

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        value = self.text(name)
        known = list(choices)
        if value is not None and value not in known:
            message = f"{value!r} is not one of {', '.join(known)}{hint(value, known)}"
            self.wrong(self.items[name], message)
            return None
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        found = self.each(name, lambda item: item.value if isinstance(item.value, str) else None, "a list of texts")
        return tuple(found)

    def each(self, name: str, read: Callable[[Item], T | None], what: str) -> list[T]:
        """Reads a list, item by item."""
        item = self.items.get(name)
        if item is None or item.value is None:
            return []
        if not isinstance(item.value, list):
            self.wrong(item, f"must be {what}, not {_kind(item.value)}")
            return []
        values: list[T] = []
        for child in item.value:
            value = read(child)
            if value is None:
                self.wrong(child, f"must be an item of {what}, not {_kind(child.value)}")
            else:
                values.append(value)
        return values

    def mapping(self, name: str) -> "Reader":
        """The mapping under a key, empty if there is none."""
        return Reader(self.items.get(name, EMPTY), self.problems)

    def mapping_items(self, name: str) -> Mapping[str, Item]:
        """The items under a key; empty if it is no mapping, which is another reading's problem."""
        item = self.items.get(name, EMPTY)
        return item.value if isinstance(item.value, dict) else {}

    def named(self, name: str) -> "list[tuple[str, Reader]]":
        """The mappings under a mapping's names, in file order."""
        return [(key, Reader(item, self.problems)) for key, item in self.mapping(name).items.items()]

    def _typed(self, name: str, kind: type[T], what: str) -> T | None:
        item = self.items.get(name)
        if item is None or item.value is None:
            return None
        if not isinstance(item.value, kind) or isinstance(item.value, bool) is not (kind is bool):
            self.wrong(item, f"must be {what}, not {_kind(item.value)}")
            return None
        return item.value


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):  # from the environment
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
