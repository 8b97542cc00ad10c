"""A request to several targets at once: its branches. One reader for requests, rules and functions. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from forebay.domain.errors import RequestError
from forebay.domain.fanout import MOST_BRANCHES, Branch, FanoutArgs

LONGEST_TARGET = 512


def several(targets: Sequence[str], shared: Branch, successes: int | None) -> FanoutArgs:
    """One branch for each of ``target`` or ``target/model``, as in a route, with all else as ``shared`` has it; one
    that stands twice is called ``gpt-2``.
    """
    times: Counter[str] = Counter()
    branches = []
    for entry in targets:
        times[entry] += 1
        target, _, model = entry.partition("/")
        name = entry if times[entry] == 1 else f"{entry}-{times[entry]}"
        branches.append(replace(shared, name=name, target=target, model=model or shared.model))
    return FanoutArgs(branches=tuple(branches), successes=successes)


def read_targets(value: Any, where: str) -> tuple[str, ...]:
    """The member ``targets``. Raises: RequestError, with the place as ``param``."""
    is_list = isinstance(value, list | tuple) and 1 <= len(value) <= MOST_BRANCHES
    if not is_list or not all(isinstance(one, str) and 1 <= len(one) <= LONGEST_TARGET for one in value):
        raise RequestError(f"{where}: 1 to {MOST_BRANCHES} names of targets", param=where)
    if any("\0" in one for one in value):
        raise RequestError(f"{where}: a name has no NUL character", param=where)
    return tuple(value)


def read_join(value: Any, most: int, where: str) -> int | None:
    """The member ``join``: how many successes end it, None for all. Raises: RequestError, likewise."""
    if value is None or value == "all":
        return None
    if value == "first":
        return 1
    needed = value.get("successes") if isinstance(value, Mapping) and len(value) == 1 else None
    where = where if needed is None else f"{where}.successes"
    if isinstance(needed, int) and not isinstance(needed, bool) and 1 <= needed <= most:
        return needed
    raise RequestError(f"{where}: all, first or {{successes: 1 to {most}}}, not {value!r}", param=where)
