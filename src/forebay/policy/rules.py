"""Rules, read: one reader for the configuration's and the API's. Pure; every refusal names the member that is wrong."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from forebay.domain.errors import InvalidPattern, NotSupported, RequestError
from forebay.domain.fanout import MOST_BRANCHES, Aggregation, Branch, FanoutArgs, How, OnFailure
from forebay.domain.job import OnUnknown
from forebay.domain.rule import Rule, RuleBranch
from forebay.domain.webhook import Include, JobWebhook
from forebay.policy.branching import read_join, read_targets, several
from forebay.policy.durations import duration_seconds
from forebay.policy.matching import EventPattern
from forebay.policy.moments import SHORTEST_TIME, read_moment
from forebay.policy.nearest import hint
from forebay.policy.templates import read_path

MEMBERS = (
    *("name", "pattern", "send", "join", "deadline", "on_failure", "aggregate", "budget_usd", "notify", "enabled"),
)
BRANCH_MEMBERS = (
    *("target", "model", "endpoint", "body", "priority", "timeout", "deadline", "max_attempts", "on_unknown"),
    *("budget_usd", "metadata", "when"),
)
OF_ENTRIES = ("targets", "join", "not_before")  # of a request, and not of the target that sums up
ELSEWHERE = {  # of a request; what to say instead
    "data_class": "placement by data class is not supported yet",
    "notify": "an entry's job is a part of the fan-out, whose end alone is told: give the rule a `notify`",
    "idempotency_key": "an entry is known by its name, and its fan-out by the event",
}
LONGEST_NAME = 128
HIGHEST_PRIORITY = 100
MOST_ATTEMPTS = 1000
JOB_EVENTS = ("job.succeeded", "job.failed", "job.cancelled", "job.*", "*")
SUMMER = "aggregate"  # the name of the branch that sums up
T = TypeVar("T")


def read_rule(value: Any, name: str | None = None) -> Rule:
    """Reads a rule. ``name``: where it does not stand within. Raises: RequestError, with the member as ``param``."""
    members = _object(value, "")
    _only(members, MEMBERS, "")
    named = members.get("name", name)
    if not isinstance(named, str) or not named or len(named) > LONGEST_NAME or "/" in named or "\0" in named:
        raise _wrong("name", f"a text of 1 to {LONGEST_NAME} characters without a slash")
    sent = _object(_needed(members, "send", ""), "send")
    if not 1 <= len(sent) <= MOST_BRANCHES:
        raise _wrong("send", f"1 to {MOST_BRANCHES} entries")
    _check_pattern(_needed(members, "pattern", ""), "pattern")
    send = tuple(read_branch(key, entry, f"send.{key}") for key, entry in sent.items())
    if sum(1 + len(branch.fanout.branches) if branch.fanout else 1 for branch in send) > MOST_BRANCHES:
        raise _wrong("send", f"at most {MOST_BRANCHES} jobs, those of `targets` within entries included")
    enabled = members.get("enabled", True)
    if not isinstance(enabled, bool):
        raise _wrong("enabled", "true or false")
    return Rule(
        name=named,
        pattern=members["pattern"],
        send=send,
        successes=read_successes(members.get("join"), len(sent)),
        deadline_seconds=_duration(members.get("deadline"), "deadline"),
        on_failure=_choice(members.get("on_failure"), OnFailure, OnFailure.PARTIAL, "on_failure"),
        aggregation=read_aggregation(members.get("aggregate")),
        budget_usd=_number(members.get("budget_usd"), "budget_usd"),
        notify=_notify(members.get("notify")),
        is_enabled=enabled,
        source={key: item for key, item in members.items() if key != "name"},
    )


def read_branch(name: Any, value: Any, where: str) -> RuleBranch:
    """Reads an entry of ``send``. Raises: RequestError."""
    members = _object(value, where)
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise _wrong(where, f"an entry's name is a text of 1 to {LONGEST_NAME} characters")
    _check_known(members, where)
    if members.get("when") is not None:
        _check_pattern(members["when"], f"{where}.when")
    body = _object(_needed(members, "body", where), f"{where}.body")
    named = [key for key in ("target", "targets", "model") if members.get(key) is not None]
    if not named and not isinstance(body.get("model"), str):
        raise _wrong(where, "names a `target`, `targets`, a `model` or a `body.model`")
    not_before = read_moment(members.get("not_before"), f"{where}.not_before", shortest_time=SHORTEST_TIME)
    deadline = read_moment(members.get("deadline"), f"{where}.deadline", shortest_time=SHORTEST_TIME)
    branch = RuleBranch(
        name=name,
        target=_text(members.get("target"), f"{where}.target"),
        model=_text(members.get("model"), f"{where}.model"),
        endpoint=_text(members.get("endpoint"), f"{where}.endpoint"),
        body=body,
        priority=_whole(members.get("priority"), -HIGHEST_PRIORITY, HIGHEST_PRIORITY, f"{where}.priority"),
        timeout_seconds=_duration(members.get("timeout"), f"{where}.timeout"),
        not_before=not_before.at,
        not_before_seconds=not_before.after_seconds,
        deadline=deadline.at,
        deadline_seconds=deadline.after_seconds,
        max_attempts=_whole(members.get("max_attempts"), 1, MOST_ATTEMPTS, f"{where}.max_attempts") or 5,
        on_unknown=_choice(members.get("on_unknown"), OnUnknown, OnUnknown.RETRY, f"{where}.on_unknown"),
        budget_usd=_number(members.get("budget_usd"), f"{where}.budget_usd"),
        metadata=_metadata(members.get("metadata"), f"{where}.metadata"),
        when=members.get("when"),
    )
    return replace(branch, fanout=_fanout(branch, members, where))


def read_successes(value: Any, branches: int) -> int | None:
    """Reads ``join``: how many successes end it, None for all. Raises: RequestError."""
    return read_join(value, branches, "join")


def read_aggregation(value: Any) -> Aggregation:
    """Reads ``aggregate``. Raises: RequestError."""
    if value is None:
        return Aggregation()
    if isinstance(value, str) and value in {How.COLLECT, How.FIRST, How.MERGE}:
        return Aggregation(how=How(value))
    if isinstance(value, Mapping) and set(value) == {"vote"}:
        path = _text(value["vote"], "aggregate.vote") or ""
        if not read_path(path):
            raise _wrong("aggregate.vote", "a path such as choices[0].message.content")
        return Aggregation(how=How.VOTE, path=path)
    if isinstance(value, Mapping) and ("target" in value or "model" in value):
        return Aggregation(how=How.TARGET, branch=read_branch(SUMMER, value, "aggregate"))
    raise _wrong("aggregate", "collect, first, merge, {vote: PATH} or {target: …, body: {…}}")


def _fanout(branch: RuleBranch, members: Mapping[str, Any], where: str) -> FanoutArgs | None:
    """The targets of an entry that goes to several, each sent the entry's body."""
    if members.get("targets") is None:
        if members.get("join") is not None:
            raise _wrong(f"{where}.join", "says when several `targets` are done: name them")
        return None
    if branch.target is not None:
        raise _wrong(f"{where}.targets", "name one `target` or several `targets`, not both")
    targets = read_targets(members["targets"], f"{where}.targets")
    shared = Branch(
        name="",
        model=branch.model,
        endpoint=branch.endpoint,
        timeout_seconds=branch.timeout_seconds,
        max_attempts=branch.max_attempts,
        on_unknown=branch.on_unknown,
        metadata=branch.metadata,
    )
    return several(targets, shared, read_join(members.get("join"), len(targets), f"{where}.join"))


def _check_known(members: Mapping[str, Any], where: str) -> None:
    for name, reason in ELSEWHERE.items():
        if members.get(name) is not None:
            raise NotSupported(f"{where}.{name}: {reason}", param=f"{where}.{name}")
    of_entries = () if where == SUMMER else OF_ENTRIES
    _only(members, (*BRANCH_MEMBERS, *of_entries, *ELSEWHERE), where)


def _notify(value: Any) -> JobWebhook | None:
    if value is None:
        return None
    members = _object(value, "notify")
    _only(members, ("webhook", "include", "events"), "notify")
    events = members.get("events") or []
    if not isinstance(events, list) or not all(event in JOB_EVENTS for event in events):
        raise _wrong("notify.events", f"a list of {', '.join(JOB_EVENTS)}")
    url = _text(_needed(members, "webhook", "notify"), "notify.webhook") or ""
    include = _choice(members.get("include"), Include, Include.ID, "notify.include")
    return JobWebhook(url=url, include=include, events=tuple(dict.fromkeys(events)))


def _check_pattern(value: Any, where: str) -> None:
    try:
        EventPattern(_object(value, where))
    except InvalidPattern as error:
        inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
        raise RequestError(f"{where}{inner}: {error.reason}", param=where, code=error.code) from error


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where or "rule", "an object")
    return value


def _only(members: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in members:
        if name not in known:
            at = f"{where}.{name}" if where else str(name)
            raise RequestError(f"There is no {at}{hint(str(name), known)}", param=at, code="unknown_parameter")


def _needed(members: Mapping[str, Any], name: str, where: str) -> Any:
    if members.get(name) is None:
        at = f"{where}.{name}" if where else name
        raise RequestError(f"{at} is missing", param=at, code="missing_required_parameter")
    return members[name]


def _text(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(where, "a text that is not empty")
    return value


def _whole(value: Any, least: int, most: int, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(where, f"a whole number from {least} to {most}")
    return value


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _wrong(where, "a number that is not negative")
    return float(value)


def _duration(value: Any, where: str) -> float | None:
    if value is None:
        return None
    seconds = duration_seconds(value) if isinstance(value, str) else _number(value, where)
    if not seconds:
        raise _wrong(where, "a duration such as 15m, or seconds")
    return seconds


def _choice(value: Any, kind: Callable[[Any], T], default: T, where: str) -> T:
    if value is None:
        return default
    try:
        return kind(value)
    except ValueError as exc:
        raise _wrong(where, f"not {value!r}: see the reference") from exc


def _metadata(value: Any, where: str) -> dict[str, str]:
    found = _object(value, where) if value is not None else {}
    if not all(isinstance(one, str) for one in found.values()):
        raise _wrong(where, "pairs of texts")
    return dict(found)


def _wrong(where: str, what: str) -> RequestError:
    return RequestError(f"{where}: {what}", param=where)
