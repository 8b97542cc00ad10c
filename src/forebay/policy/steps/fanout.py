"""The options of a step that asks several targets of each record: ``fanout``."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.fanout import MOST_BRANCHES, Aggregation, Branch, OnFailure
from forebay.domain.record import Record
from forebay.policy.requests import RequestOptions
from forebay.policy.rules import read_aggregation, read_branch, read_successes
from forebay.policy.steps.infer import CALL, CallOptions, read_call_options, read_request, refuse_others

FANOUT = (
    *("targets", "join", "aggregate", "on_failure", "prompt", "system", "body", "params", "endpoint", "model"),
    *(name for name in CALL if name != "target"),
)


class FanoutOptions(Record, frozen=True, kw_only=True):
    """A branch without a body of its own asks what ``request`` says. ``call.deadline_seconds``: the join's, for each
    record.
    """

    branches: tuple[Branch, ...]
    request: RequestOptions | None = None
    call: CallOptions = CallOptions()
    successes: int | None = None
    on_failure: OnFailure = OnFailure.PARTIAL
    aggregation: Aggregation = Aggregation()


def read_fanout(options: Mapping[str, Any]) -> FanoutOptions:
    """Raises: RequestError, with the option as ``param``."""
    for name in ("schema", "records_per_call"):
        if name in options:
            raise RequestError("is an `infer` step's", param=name, code="unknown_parameter")
    refuse_others(options, FANOUT)
    call = read_call_options(options)
    is_shared = options.get("prompt") is not None or options.get("body") is not None
    request = read_request(options) if is_shared else None
    branches = _branches(options.get("targets"), request, call)
    on_failure = options.get("on_failure") or OnFailure.PARTIAL.value
    if on_failure not in list(OnFailure):
        raise RequestError(f"must be partial or fail, not {on_failure!r}", param="on_failure")
    return FanoutOptions(
        branches=branches,
        request=request,
        call=call,
        successes=read_successes(options.get("join"), len(branches)),
        on_failure=OnFailure(on_failure),
        aggregation=read_aggregation(options.get("aggregate")),
    )


def _branches(targets: Any, request: RequestOptions | None, call: CallOptions) -> tuple[Branch, ...]:
    if not isinstance(targets, list | Mapping) or not 1 <= len(targets) <= MOST_BRANCHES:
        raise RequestError(f"must be a list, or a mapping, of 1 to {MOST_BRANCHES} targets", param="targets")
    if isinstance(targets, list):
        if request is None:
            raise RequestError("say what to ask: a `prompt`, or a `body`", param="prompt")
        return _listed(targets, request, call)
    return tuple(_named(str(name), entry, request) for name, entry in targets.items())


def _listed(targets: list[Any], request: RequestOptions, call: CallOptions) -> tuple[Branch, ...]:
    times: Counter[str] = Counter()
    branches: list[Branch] = []
    for entry in targets:
        if not isinstance(entry, str) or not entry:
            raise RequestError("an entry is a target, or a target and its model: `gpt/gpt-x`", param="targets")
        times[entry] += 1
        target, _, model = entry.partition("/")
        branches.append(
            Branch(
                name=entry if times[entry] == 1 else f"{entry}-{times[entry]}",
                target=target,
                model=model or request.model,
                endpoint=request.endpoint,
                timeout_seconds=call.timeout_seconds,
                max_attempts=call.max_attempts,
                on_unknown=call.on_unknown,
                metadata=call.metadata,
            )
        )
    return tuple(branches)


def _named(name: str, entry: Any, request: RequestOptions | None) -> Branch:
    where = f"targets.{name}"
    if isinstance(entry, Mapping) and "when" in entry:
        raise RequestError("`when` is a rule's; a step has its own", param=f"{where}.when", code="unknown_parameter")
    has_own = isinstance(entry, Mapping) and entry.get("body") is not None
    if isinstance(entry, Mapping) and not has_own:
        if request is None:
            raise RequestError(f"{where}: say what to ask: a `body`, or the step's `prompt`", param=where)
        entry = {**entry, "body": {}}
    branch = read_branch(name, entry, where)
    members = {member: getattr(branch, member) for member in Branch.__struct_fields__}
    return Branch(**{**members, "body": branch.body if has_own else None})
