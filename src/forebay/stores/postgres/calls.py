"""Call: one awaited verb on its way to a commit, and the way of its reply back to the loop it came from."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from forebay.stores.postgres.transaction import Tx

Run = Callable[[Tx, Sequence[Any]], Awaitable[Sequence[Any]]]


class Order(IntEnum):
    """In which order one commit runs what arrived for it. It is also the order in which locks are taken: rows of jobs
    by the answers, then of parents by their settling, then lanes by claims, after which nothing is waited for.
    """

    ADD = 1
    BEGIN = 2
    APPEND = 3
    APPLY = 4
    SETTLE = 5
    CLAIM = 6
    BARRIER = 7  # all other verbs: each in a transaction of its own, on a connection of their own


class Call(NamedTuple):
    """``run`` takes the arguments of all merged calls and returns one result for each; a result that is an exception
    is raised to its caller, and the others stand.
    """

    order: Order
    run: Run
    argument: Any
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    since: float  # when it was asked, by the monotonic clock


Reply = tuple[Call, Any]


def plan(calls: Iterable[Call]) -> list[list[list[Call]]]:
    """The transactions of these calls: each a list of groups that run as one, in order."""
    hot: dict[Order, list[Call]] = {}
    alone: list[list[list[Call]]] = []
    for call in calls:
        if call.order is Order.BARRIER:
            alone.append([[call]])
        else:
            hot.setdefault(call.order, []).append(call)
    merged = [hot[order] for order in sorted(hot)]
    return [merged, *alone] if merged else alone


def answer(replies: Iterable[Reply]) -> None:
    """Resolves the callers' futures, each on its own loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Reply]] = {}
    for reply in replies:
        loops.setdefault(reply[0].loop, []).append(reply)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, theirs)
        except RuntimeError:  # that loop is closed: nobody waits any more
            continue


def _resolve(replies: list[Reply]) -> None:
    for call, result in replies:
        if call.future.done():
            continue
        if isinstance(result, BaseException):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)
