"""Section `rules`: events a second matched against 10,000 rules, beside the same against ten."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

from forebay.bench.figures import Aim, Figure
from forebay.bench.place import Place
from forebay.policy.matching import EventPattern, RuleSet

SECTION = "rules"
FEW, MANY = 10, 10_000
RATIO_AIM = 0.5
SHOPS = 50
SEED = 7
PADDING = "word " * 130  # an event of about 1 KB


async def measure(place: Place) -> list[Figure]:
    """The same kinds of rules and events at both sizes; one event in some matches."""
    few, many = _events_per_second(FEW, place), _events_per_second(MANY, place)
    return [
        Figure(
            section=SECTION,
            name=f"events of 1 KB against {MANY:,} rules",
            measured=many,
            unit="events/s",
            baseline=few,
            baseline_name=f"against {FEW}",
            aim=Aim(at_least=RATIO_AIM),
        )
    ]


def _events_per_second(count: int, place: Place) -> float:
    place.tell(f"{place.sizes.events:,} events against {count:,} rules")
    rules, chance = RuleSet(_rules(count)), random.Random(SEED)  # noqa: S311 - no secret
    events = [_event(chance.randrange(count)) for _ in range(place.sizes.events)]
    began = time.process_time()
    matched = sum(len(rules.matching(event)) for event in events)
    seconds = time.process_time() - began
    if not matched:
        raise RuntimeError("no event matched: the bench measures nothing")
    return len(events) / seconds


def _rules(count: int) -> Iterator[tuple[int, EventPattern]]:
    """By turns a customer, a folder, a range of prices, a name with a wildcard, and tags."""
    for number in range(count):
        details: list[dict[str, Any]] = [
            {"customer": [f"c-{number}"], "price": [{"numeric": [">", number % 500]}]},
            {"path": [{"prefix": f"/u/{number}/"}]},
            {"price": [{"numeric": [">=", number, "<", number + 3]}]},
            {"file": [{"wildcard": f"img-{number}*.png"}], "state": [{"anything-but": ["off"]}]},
            {"tags": [f"t{number}", f"u{number}"], "gone": [{"exists": False}]},
        ]
        pattern = {
            "source": [f"shop-{number % SHOPS}"],
            "detail-type": ["created", "changed"],
            "detail": details[number % len(details)],
        }
        yield number, EventPattern(pattern)


def _event(number: int) -> str:
    detail = {
        "customer": f"c-{number}",
        "price": number + 1.5,
        "path": f"/u/{number}/x",
        "file": f"img-{number}-a.png",
        "state": "on",
        "tags": [f"t{number}", "zz"],
        "text": PADDING,
        "lines": [{"sku": f"s{place}", "count": place} for place in range(4)],
    }
    event = {"id": str(number), "source": f"shop-{number % SHOPS}", "detail-type": "created", "detail": detail}
    return json.dumps(event)
