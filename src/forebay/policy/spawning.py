"""Reads a ``forebay.Spawn``: the requests of its children, and when they are done. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.fanout import Branch, FanoutArgs, OnFailure
from forebay.domain.function import Spawn
from forebay.domain.job import OnUnknown
from forebay.domain.order import Order
from forebay.domain.spawning import Decomposition, Part
from forebay.policy.branching import read_join, read_targets, several
from forebay.policy.durations import duration_seconds
from forebay.policy.moments import Moment, read_moment

LONGEST_NAME = 128
ELSEWHERE = {  # of a request; what to say instead
    "notify": "a child's end is told to its function; give the job that splits its task a `notify`",
    "idempotency_key": "a child is known by its `name`",
    "data_class": "placement by data class is not supported yet",
}
_Name = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
_Label = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")]


class Child(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One child as it was written."""

    body: dict[str, Any]
    name: _Label | None = None
    target: _Name | None = None
    targets: list[str] | None = None
    join: Any = None
    not_before: float | str | None = None
    model: _Name | None = None
    endpoint: _Name | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    deadline: float | str | None = None
    timeout: float | str | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 5
    on_unknown: OnUnknown = OnUnknown.RETRY
    metadata: dict[str, str] = {}
    budget_usd: Annotated[float, Meta(ge=0)] | None = None


def read_spawn(spawn: Spawn) -> Decomposition:
    """Raises: RequestError: it can't be acted on; ``param`` names where."""
    given = list(spawn.children)
    if not given:
        raise RequestError("Spawn: it has no children", param="children")
    times: Counter[str] = Counter()
    parts = tuple(_part(child, f"children[{place}]", times) for place, child in enumerate(given))
    twice = [name for name, count in Counter(part.name for part in parts).items() if count > 1]
    if twice:
        raise RequestError(f"Spawn: two children have the name {twice[0]!r}", param="children")
    if spawn.on_failure not in set(OnFailure):
        raise RequestError(f"Spawn: on_failure is partial or fail, not {spawn.on_failure!r}", param="on_failure")
    return Decomposition(
        parts=parts,
        successes=_successes(spawn.join, len(parts)),
        on_failure=OnFailure(spawn.on_failure),
        deadline_seconds=_seconds(spawn.deadline, "deadline"),
    )


def renamed(split: Decomposition, earlier: Sequence[str]) -> Decomposition:
    """Gives those that the function did not name a name that no earlier round has."""
    taken = {*earlier, *(part.name for part in split.parts)}
    parts = []
    for part in split.parts:
        name = part.name
        if not part.is_named and name in earlier:
            name = next(free for count in range(2, len(taken) + 3) if (free := f"{part.name}-{count}") not in taken)
            taken.add(name)
        parts.append(msgspec.structs.replace(part, name=name))
    return msgspec.structs.replace(split, parts=tuple(parts))


def _part(value: Mapping[str, Any], where: str, times: Counter[str]) -> Part:
    child = _read(value, where)
    model = child.model or _text(child.body.get("model"))
    if child.target is None and child.targets is None and model is None:
        raise RequestError(f"Spawn: {where} names no `target`, `targets`, `model` or `body.model`", param=where)
    if child.body.get("stream") is True:
        raise RequestError(f"Spawn: {where}: a child has no stream", param=where, code="streaming_unsupported")
    deadline = _moment(child.deadline, f"{where}.deadline")
    not_before = _moment(child.not_before, f"{where}.not_before")
    order = Order(
        body=msgspec.json.encode(child.body).decode(),
        target=child.target,
        model=model,
        endpoint=child.endpoint,
        not_before=not_before.at,
        deadline=deadline.at,
        timeout_seconds=_seconds(child.timeout, f"{where}.timeout"),
        max_attempts=child.max_attempts,
        on_unknown=child.on_unknown,
        budget_usd=child.budget_usd,
        metadata=child.metadata,
    )
    order = msgspec.structs.replace(order, fanout=_fanout(child, order, where))
    if child.priority is not None:
        order = msgspec.structs.replace(order, priority=child.priority)
    name = child.name or _named(child.target or "+".join(child.targets or ()) or model or "", times)
    return Part(
        name=name,
        is_named=child.name is not None,
        order=order,
        deadline_seconds=deadline.after_seconds,
        not_before_seconds=not_before.after_seconds,
    )


def _fanout(child: Child, order: Order, where: str) -> FanoutArgs | None:
    """The targets of a child that goes to several, each sent the child's body."""
    if child.targets is None:
        if child.join is not None:
            raise RequestError(f"Spawn: {where}.join: it has no `targets`", param=f"{where}.join")
        return None
    if child.target is not None:
        raise RequestError(f"Spawn: {where}: one `target` or several `targets`, not both", param=f"{where}.targets")
    try:
        targets = read_targets(child.targets, f"{where}.targets")
        successes = read_join(child.join, len(targets), f"{where}.join")
    except RequestError as exc:
        raise RequestError(f"Spawn: {exc.message}", param=exc.param) from exc
    shared = Branch(
        name="",
        model=child.model,
        endpoint=order.endpoint,
        timeout_seconds=order.timeout_seconds,
        max_attempts=order.max_attempts,
        on_unknown=order.on_unknown,
        metadata=order.metadata,
    )
    return several(targets, shared, successes)


def _read(value: Mapping[str, Any], where: str) -> Child:
    if not isinstance(value, Mapping):
        raise RequestError(f"Spawn: {where} is no object", param=where)
    for name, reason in ELSEWHERE.items():
        if value.get(name) is not None:
            raise NotSupported(f"Spawn: {where}.{name}: {reason}", param=f"{where}.{name}", code="not_supported")
    known = {key: item for key, item in value.items() if item is not None and key not in ELSEWHERE}
    try:
        child = msgspec.convert(known, Child)
        msgspec.json.encode(child.body)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as exc:
        raise RequestError(f"Spawn: {where}: {exc}", param=where) from exc
    return child


def _named(name: str, times: Counter[str]) -> str:
    times[name] += 1
    return name[:LONGEST_NAME] if times[name] == 1 else f"{name[: LONGEST_NAME - 5]}-{times[name]}"


def _successes(join: Any, children: int) -> int | None:
    try:
        return read_join(join, children, "join")
    except RequestError as exc:
        raise RequestError(f"Spawn: {exc.message}", param="join") from exc


def _moment(value: float | str | None, where: str) -> Moment:
    """A time comes as it does to ``POST /v1/jobs``."""
    try:
        return read_moment(value, where)
    except RequestError as exc:
        raise RequestError(f"Spawn: {exc.message}", param=where) from exc


def _seconds(value: float | str | None, where: str) -> float | None:
    if value is None:
        return None
    seconds = duration_seconds(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise RequestError(f"Spawn: {where}: {value!r} is no duration; give seconds or `15m`", param=where)
    return float(seconds)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
