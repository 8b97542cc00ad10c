"""Reads the bounds on what a client may send."""

from typing import Any

from forebay.domain.fanout import MOST_BRANCHES
from forebay.policy.json_text import DEEPEST
from forebay.settings.reading import Reader

SIZES = {
    "max_bodies_bytes": "max_bodies_bytes",
    "max_head_bytes": "max_head_bytes",
    "max_url_bytes": "max_url_bytes",
    "min_upload_rate": "min_upload_rate_bytes",
}
NUMBERS = (
    *("max_headers", "max_json_depth", "max_metadata_pairs", "graphql_max_depth", "graphql_max_cost"),
    *("max_event_hops", "max_spawn_depth", "max_spawn_children", "max_spawned_jobs"),
)
SUMS = ("spawn_budget_usd",)
DURATIONS = {
    "head_timeout": "head_timeout_seconds",
    "body_timeout": "body_timeout_seconds",
    "event_ttl": "event_ttl_seconds",
}
LIMITS = (*SIZES, *NUMBERS, *SUMS, *DURATIONS)


def read_limits(reader: Reader) -> dict[str, Any]:
    """The fields of ``Settings`` that are given."""
    found: dict[str, Any] = {field: reader.size(name) for name, field in SIZES.items()}
    found |= {name: reader.whole(name, least=1) for name in NUMBERS}
    found |= {name: reader.number(name) for name in SUMS}
    found |= {field: reader.seconds(name) for name, field in DURATIONS.items()}
    depth = found["max_json_depth"]
    if depth is not None and depth > DEEPEST:
        reader.wrong(reader.items["max_json_depth"], f"must be at most {DEEPEST}, not {depth}")
    children = found["max_spawn_children"]
    if children is not None and children > MOST_BRANCHES:
        reader.wrong(reader.items["max_spawn_children"], f"must be at most {MOST_BRANCHES}, not {children}")
    return {field: value for field, value in found.items() if value is not None}
