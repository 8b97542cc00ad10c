"""The LimitStore: one number per rate (GCRA) and one sum per budget, for all processes on the database.

``full_at`` is when the rate's bucket will be full again: what is there at ``now`` is
``burst - max(0, full_at - now) * per_second``. Source: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from forebay.domain.lesson import Lesson
from forebay.ports import Grant, Rate
from forebay.stores.postgres.backend import Backend
from forebay.stores.postgres.calls import Order
from forebay.stores.postgres.transaction import Row, Session, Tx

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Lesson).decode


class _Asking(NamedTuple):
    rate: Rate
    amount: float
    ahead_seconds: float = 0.0


class _Charge(NamedTuple):
    budget: str
    amount_usd: float
    ceiling_usd: float


class _Telling(NamedTuple):
    lessons: Sequence[Lesson]
    lasting_seconds: float


class PostgresLimits:
    """Rates and budgets, one row each; lessons, a row for each target and worker."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def reserve(self, rate: Rate, amount: float, ahead_seconds: float = 0.0) -> Grant:
        return await self._backend.write(Order.BARRIER, _reserve, _Asking(rate, amount, ahead_seconds))

    async def give_back(self, rate: Rate, amount: float) -> None:
        await self._backend.write(Order.BARRIER, _give_back, _Asking(rate, amount))

    async def charge(self, budget: str, amount_usd: float, ceiling_usd: float) -> bool:
        return await self._backend.write(Order.BARRIER, _charge, _Charge(budget, amount_usd, ceiling_usd))

    async def spent(self, budget: str) -> float:
        read: Callable[[Session], Awaitable[list[Row]]] = lambda session: session.run("limits.spent", budget)  # noqa: E731
        rows = await self._backend.read(read)
        return float(rows[0][0]) if rows else 0.0

    async def tell(self, lessons: Sequence[Lesson], lasting_seconds: float) -> None:
        await self._backend.write(Order.BARRIER, _tell, _Telling(lessons, lasting_seconds))

    async def heard(self, targets: Sequence[str]) -> list[Lesson]:
        async def read(session: Session) -> list[Lesson]:
            now = await self._backend.now(session)
            return [_decode(row[0]).aged(now - row[1]) for row in await session.run("limits.heard", list(targets), now)]

        return await self._backend.read(read)


async def _reserve(tx: Tx, askings: Sequence[_Asking]) -> Sequence[Grant]:
    return [await _reserve_one(tx, asking) for asking in askings]


async def _reserve_one(tx: Tx, asking: _Asking) -> Grant:
    rate, amount, ahead = asking
    full_at = await _full_at(tx, rate)
    there = rate.burst - (full_at - tx.now) * rate.per_second
    granted = max(0.0, min(amount, there + ahead * rate.per_second))
    if granted == 0:
        return Grant(granted=0.0, wait_seconds=(min(amount, rate.burst) - there) / rate.per_second - ahead)
    await tx.run("limits.set", rate.name, full_at + granted / rate.per_second, tx.now)
    return Grant(granted=granted, wait_seconds=max(0.0, granted - there) / rate.per_second)


async def _give_back(tx: Tx, askings: Sequence[_Asking]) -> Sequence[None]:
    for rate, amount, _ in askings:
        full_at = await _full_at(tx, rate)
        await tx.run("limits.set", rate.name, full_at - amount / rate.per_second, tx.now)
    return [None] * len(askings)


async def _full_at(tx: Tx, rate: Rate) -> float:
    """Under the row's lock, which is held until the commit."""
    rows = await tx.run("limits.full_at", rate.name)
    if not rows:
        await tx.run("limits.open", rate.name, tx.now)
        rows = await tx.run("limits.full_at", rate.name)
    full_at, set_at = rows[0]
    if set_at <= tx.now:
        return max(tx.now, float(full_at))
    # The clock was set back: the lane must not wait until it has caught up. Kept, or the bucket would never fill.
    full_at = max(tx.now, float(full_at) - (set_at - tx.now))
    await tx.run("limits.set", rate.name, full_at, tx.now)
    return float(full_at)


async def _charge(tx: Tx, charges: Sequence[_Charge]) -> Sequence[bool]:
    replies: list[bool] = []
    for charge in charges:
        await tx.run("limits.open_budget", charge.budget)
        replies.append(bool(await tx.run("limits.charge", *charge)))
    return replies


async def _tell(tx: Tx, tellings: Sequence[_Telling]) -> Sequence[None]:
    for lessons, lasting_seconds in tellings:
        rows = [(lesson.target, lesson.teller, _encode(lesson).decode()) for lesson in lessons]
        await tx.bulk("limits.tell", rows, tx.now, tx.now + lasting_seconds)
        await tx.run("limits.unlearn", tx.now)
    return [None] * len(tellings)
