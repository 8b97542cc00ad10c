"""EventPattern: whether one event is what a pattern describes."""

from collections.abc import Mapping

from forebay.policy.matching.compiling import SubRule, compile_pattern
from forebay.policy.matching.events import Fields, flatten, joined
from forebay.policy.matching.leaves import Source


class EventPattern:
    """An event pattern in EventBridge's syntax.

    >>> EventPattern({"source": ["shop"], "price": [{"numeric": [">", 100]}]}).matches({"source": "shop", "price": 120})
    True

    A pattern or event that is a string or bytes is JSON's text: it keeps repeated keys and the spelling of numbers.
    Raises: InvalidPattern: ``path`` is where, the message why.
    """

    __slots__ = ("_wanted", "sub_rules")

    def __init__(self, pattern: Source) -> None:
        self.sub_rules = compile_pattern(pattern)
        self._wanted = wanted_paths(self.sub_rules)

    def matches(self, event: Source) -> bool:
        """Whether the event matches. Raises: RequestError: it is no JSON object."""
        fields = flatten(event, self._wanted)
        return any(holds(rule, fields) for rule in self.sub_rules)


def wanted_paths(rules: tuple[SubRule, ...]) -> set[str]:
    """The paths that the rules name, and every beginning of one."""
    wanted: set[str] = set()
    for rule in rules:
        for name, _ in rule:
            wanted.add(name)
            wanted.update(name[:at] for at, mark in enumerate(name) if mark == ".")
    return wanted


def holds(rule: SubRule, fields: Fields) -> bool:
    """Whether each test has a leaf, all of them in the same elements of the arrays that they share."""
    return _holds_from(rule, 0, fields, {})


def _holds_from(rule: SubRule, at: int, fields: Fields, chosen: Mapping[int, int]) -> bool:
    if at == len(rule):
        return True
    name, test = rule[at]
    is_absent = True
    for field in fields.get(name, ()):
        together = joined(chosen, field.places)
        if together is None:
            continue
        is_absent = False
        if test.holds(field.leaf) and _holds_from(rule, at + 1, fields, together):
            return True
    return is_absent and test.may_be_absent and _holds_from(rule, at + 1, fields, chosen)
