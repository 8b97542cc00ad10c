"""RuleSet: many patterns, matched at a cost that follows how many come into question and not how many there are.

Each sub-rule is filed under one of its fields, the one that the fewest others share; an event looks up what is filed
under its own leaves, and only that is matched in full.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from forebay.policy.matching.compiling import FieldTest, SubRule
from forebay.policy.matching.conditions import Condition, Folded, Network, Prefix, Span, Suffix, Wildcard, address_of
from forebay.policy.matching.events import Fields, flatten
from forebay.policy.matching.intervals import Interval, Intervals
from forebay.policy.matching.leaves import Leaf, Source
from forebay.policy.matching.patterns import EventPattern, holds, wanted_paths

Name = TypeVar("Name", bound=Hashable)
PRESENT_COST = 4  # a field's mere presence against a bucket of the same size: nearly every event has it
CROWDED = 1000  # no use to count on
ROUNDS = (4, 64, sys.maxsize)  # of filing: by how many are found together


class Ticket(NamedTuple):
    """Under what a condition is filed: a kind, how much of a leaf counts, and its value."""

    kind: str  # `is`, `begins`, `ends`, `folded`, `folded begins`, `folded ends`, `network`, `span`, `present`
    size: int = 0
    value: Any = None  # hashable


PRESENT = Ticket("present")


class RuleSet(Generic[Name]):
    """Named patterns, compiled together. It never changes: a new set of rules is a new RuleSet."""

    def __init__(self, patterns: Iterable[tuple[Name, EventPattern]]) -> None:
        self._names: list[Name] = []
        self._rules: list[tuple[int, SubRule]] = []
        for place, (name, pattern) in enumerate(patterns):
            self._names.append(name)
            self._rules += [(place, rule) for rule in pattern.sub_rules]
        self._wanted = wanted_paths(tuple(rule for _, rule in self._rules))
        self._always, self._fields = self._filed()

    def __len__(self) -> int:
        return len(self._names)

    def matching(self, event: Source) -> list[Name]:
        """The names of the patterns that the event matches, in the order in which they were given.

        Raises: RequestError: the event is no JSON object.
        """
        fields = flatten(event, self._wanted)
        found: set[int] = set()
        for at in self._candidates(fields):
            place, rule = self._rules[at]
            if place not in found and holds(rule, fields):
                found.add(place)
        return [self._names[place] for place in sorted(found)]

    def _candidates(self, fields: Fields) -> set[int]:
        found = set(self._always)
        for name, leaves in fields.items():
            shelf = self._fields.get(name)
            if shelf is not None:
                for leaf in {field.leaf for field in leaves}:
                    found.update(shelf.under(leaf))
        return found

    def _filed(self) -> tuple[list[int], dict[str, "_Shelf"]]:
        """In rounds: who stands nearly alone under a field is filed there, and no longer crowds the others' fields."""
        tickets = {
            at: {name: _tickets(test) for name, test in rule if not test.may_be_absent}
            for at, (_, rule) in enumerate(self._rules)
        }
        always = [at for at, found in tickets.items() if not found]
        shelves: defaultdict[str, _Shelf] = defaultdict(_Shelf)
        left = {at: found for at, found in tickets.items() if found}
        for most in ROUNDS:
            crowd = _Crowd(left.values())
            for at, found in list(left.items()):
                fewest, name = min((max(crowd.at(name, one) for one in found[name]), name) for name in found)
                if fewest <= most:
                    del left[at]
                    for ticket in found[name]:
                        shelves[name].file(ticket, at)
        for shelf in shelves.values():
            shelf.close()
        return always, dict(shelves)


class _Crowd:
    """How many would be found together under a ticket, were all of these filed under all of their fields."""

    def __init__(self, rules: Iterable[Mapping[str, set[Ticket]]]) -> None:
        filed = [(name, ticket) for rule in rules for name, found in rule.items() for ticket in found]
        self._alike = Counter(filed)
        spans: defaultdict[str, list[Interval]] = defaultdict(list)
        for at, (name, ticket) in enumerate(filed):
            if ticket.kind == "span":
                low, high = ticket.value
                spans[name].append(Interval(low, high, at))
        self._spans = {name: Intervals(found) for name, found in spans.items()}

    def at(self, name: str, ticket: Ticket) -> int:
        if ticket.kind != "span":
            return self._alike[name, ticket] * (PRESENT_COST if ticket is PRESENT else 1)
        low, high = ticket.value
        return sum(1 for _ in islice(self._spans[name].holding((low + high) // 2), CROWDED))


class _Shelf:
    """What is filed under one field."""

    def __init__(self) -> None:
        self._exact: defaultdict[Leaf, list[int]] = defaultdict(list)
        self._sized: defaultdict[tuple[str, int], defaultdict[object, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._spans: list[Interval] = []
        self._present: list[int] = []
        self._tree: Intervals | None = None
        self._has_networks = False
        self._begins: list[tuple[int, Mapping[object, list[int]]]] = []
        self._others: list[tuple[str, int, Mapping[object, list[int]]]] = []

    def file(self, ticket: Ticket, at: int) -> None:
        if ticket.kind == "is":
            self._exact[ticket.value].append(at)
        elif ticket.kind == "span":
            low, high = ticket.value
            self._spans.append(Interval(low, high, at))
        elif ticket.kind == "present":
            self._present.append(at)
        else:
            self._has_networks |= ticket.kind == "network"
            self._sized[ticket.kind, ticket.size][ticket.value].append(at)

    def close(self) -> None:
        """Everything is filed."""
        self._tree = Intervals(self._spans) if self._spans else None
        self._begins = [(size, found) for (kind, size), found in self._sized.items() if kind == "begins"]
        self._others = [(*key, found) for key, found in self._sized.items() if key[0] != "begins"]

    def under(self, leaf: Leaf) -> list[int]:
        """What comes into question for a field with this leaf."""
        found = [*self._present, *self._exact.get(leaf, ())]
        if isinstance(leaf, int):
            if self._tree is not None:
                found.extend(self._tree.holding(leaf))
        elif isinstance(leaf, str):
            for size, filed in self._begins:
                found.extend(filed.get(leaf[:size], ()))
            if self._others:
                address = address_of(leaf) if self._has_networks else None
                for kind, size, filed in self._others:
                    found.extend(filed.get(_value(kind, size, leaf, address), ()))
        return found


def _value(kind: str, size: int, leaf: str, address: tuple[int, int] | None) -> object:
    """What of a leaf is looked up."""
    if kind == "network":
        return (address[0], address[1] >> (address[0] - size)) if address and size <= address[0] else None
    part = leaf
    if kind.endswith("begins"):  # and its case does not matter
        part = leaf[:size]
    elif kind.endswith("ends"):
        part = leaf[-size:] if size else ""
    return part.lower() if kind.startswith("folded") else part


def _tickets(test: FieldTest) -> set[Ticket]:
    return {Ticket("is", 0, leaf) for leaf in test.leaves} | {_ticket(one) for one in test.conditions}


def _ticket(condition: Condition) -> Ticket:
    match condition:
        case Prefix(text):
            return Ticket("begins", len(text), text)
        case Suffix(text):
            return Ticket("ends", len(text), text)
        case Folded(text, is_open_before, is_open_after) if text.isascii():
            ends = " ends" if is_open_before else " begins" if is_open_after else ""
            return Ticket("folded" + ends, len(text) if ends else 0, text.lower())
        case Wildcard((first, *_)) if first:
            return Ticket("begins", len(first), first)
        case Wildcard((*_, last)) if last:
            return Ticket("ends", len(last), last)
        case Span(low, high, is_open_low, is_open_high):
            return Ticket("span", 0, (low + is_open_low, high - is_open_high))
        case Network(bits, low, high):
            size = bits - (high - low).bit_length()
            return Ticket("network", size, (bits, low >> (bits - size)))
        case _:
            return PRESENT
