"""Aggregation: how the entries of a fan-out's branches become one body. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.errors import TemplateFieldMissing
from forebay.domain.fanout import Aggregation, Entry, How
from forebay.domain.job import Status
from forebay.policy.templates import Path, read_path


def shown(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The entries by name, as the result shows them: a branch that did not succeed has an error, not a hole."""
    return {entry.name: _shown(entry) for entry in entries}


def aggregated(aggregation: Aggregation, entries: Sequence[Entry]) -> Any:
    """The one body. ``target`` has none of its own: its job's answer is it."""
    won = [entry for entry in entries if entry.status is Status.SUCCEEDED]
    match aggregation.how:
        case How.FIRST:
            first = min(won, key=lambda entry: entry.finished_at or 0.0, default=None)
            return None if first is None else first.body
        case How.VOTE:
            return _voted(aggregation.path or "", won)
        case How.MERGE:
            return _merged([msgspec.json.decode(entry.body) for entry in won])
        case How.COLLECT:
            return shown(entries)
        case How.TARGET:
            return None


def _shown(entry: Entry) -> dict[str, Any]:
    outcome = {"body": entry.body} if entry.status is Status.SUCCEEDED else {"error": entry.error}
    return {"status": entry.status, "job_id": entry.job_id, **outcome, "cost_usd": entry.cost_usd}


def _voted(path: str, won: Sequence[Entry]) -> dict[str, Any]:
    """The majority over a path, also into JSON that stands in a string, as a model's structured answer does."""
    steps = read_path(path)
    values = [value for entry in won if (value := _at(steps, msgspec.json.decode(entry.body))) is not None]
    texts = [value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in values]
    votes = Counter(texts)
    most = max(votes.values(), default=0)
    leaders = [text for text, count in votes.items() if count == most]  # in the order of `send`
    winner = values[texts.index(leaders[0])] if leaders else None
    return {"winner": winner, "votes": dict(votes), "tie": len(leaders) > 1}


def _at(steps: Path, value: Any) -> Any:
    for step in steps:
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                return None
        is_there = step in value if isinstance(value, Mapping) else isinstance(value, list) and _has(value, step)
        if not is_there:
            return None
        value = value[step]
    return value


def _has(values: Sequence[Any], step: object) -> bool:
    return isinstance(step, int) and step < len(values)


def _merged(bodies: Sequence[Any]) -> Any:
    merged: Any = {}
    for body in bodies:
        merged = _over(merged, body)
    return merged


def _over(one: Any, other: Any) -> Any:
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return other
    return {**one, **{key: _over(one[key], value) if key in one else value for key, value in other.items()}}


def check_path(path: str) -> None:
    """Raises: TemplateFieldMissing: it is no path."""
    if not read_path(path):
        raise TemplateFieldMissing(f"{path!r} is no path such as choices[0].message.content", param="vote")
