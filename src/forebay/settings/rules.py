"""The key ``rules`` of the configuration: a list, each rule as the API takes it."""

import re
from collections.abc import Iterable
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.rule import Rule
from forebay.domain.target import Route, TargetSpec
from forebay.policy.nearest import hint
from forebay.policy.rules import read_rule
from forebay.settings.reading import Reader
from forebay.settings.source import Item


def read_rules(root: Reader, targets: Iterable[TargetSpec], routes: Iterable[Route]) -> tuple[Rule, ...]:
    """Reads ``rules``; what is wrong is told with the line where it stands."""
    item = root.items.get("rules")
    if item is None or item.value is None or item.value == {}:
        return ()
    if not isinstance(item.value, list):
        root.wrong(item, "must be a list of rules, each with name, pattern and send")
        return ()
    known = [spec.name for spec in targets] + [route.name for route in routes]
    found: dict[str, Rule] = {}
    for child in item.value:
        try:
            rule = read_rule(plain(child))
        except RequestError as error:
            root.wrong(item_at(child, error.param or ""), error.message)
            continue
        if rule.name in found:
            root.wrong(child, f"the rule {rule.name!r} stands twice")
        for branch in rule.send:
            for one in (branch, *(branch.fanout.branches if branch.fanout else ())):
                if one.target is not None and one.target not in known:
                    at = item_at(child, f"send.{branch.name}.{'target' if one is branch else 'targets'}")
                    root.wrong(at, f"there is no target {one.target!r}{hint(one.target, known)}")
        found[rule.name] = rule
    return tuple(found.values())


def plain(item: Item) -> Any:
    """The value without its lines."""
    if isinstance(item.value, dict):
        return {name: plain(child) for name, child in item.value.items()}
    if isinstance(item.value, list):
        return [plain(child) for child in item.value]
    return item.value


def item_at(item: Item, path: str) -> Item:
    """The item at a path such as ``on[1].cron``, or the nearest one above it."""
    for step in re.findall(r"[^.\[\]]+|\[\d+\]", path):
        inner = None
        if isinstance(item.value, dict):
            inner = item.value.get(step)
        elif isinstance(item.value, list) and step.startswith("[") and int(step[1:-1]) < len(item.value):
            inner = item.value[int(step[1:-1])]
        if inner is None:
            break
        item = inner
    return item
