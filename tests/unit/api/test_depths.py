"""Queues are counted for each who asks while that is quick, and beside the asking when it is not."""

import asyncio

import pytest

from forebay.api.depths import QUICK_SECONDS, REST, QueueDepths
from forebay.domain.change import Depth
from forebay.domain.errors import StoreUnavailable


class Store:
    """Counts what it is told to, in the time it is told to take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.queued = 1
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def count(self) -> list[Depth]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.now += self.takes
        return [Depth(queue="target:mill", queued=self.queued, running=0)]

    def clock(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


async def queued(depths: QueueDepths) -> int:
    return (await depths.latest())[0].queued


async def test_a_short_queue_is_counted_each_time(store: Store) -> None:
    depths = QueueDepths(store.count, store.clock)
    assert await queued(depths) == 1
    store.queued = 2
    assert (await queued(depths), store.asked) == (2, 2)


async def test_a_long_queue_is_counted_again_only_after_a_rest_and_nobody_waits_for_it(store: Store) -> None:
    depths = QueueDepths(store.count, store.clock)
    store.takes = 2 * QUICK_SECONDS
    assert await queued(depths) == 1
    store.queued = 2
    assert (await queued(depths), store.asked) == (1, 1)
    store.now += REST * store.takes
    store.gate.clear()
    assert (await queued(depths), await queued(depths)) == (1, 1)
    store.gate.set()
    await asyncio.gather(*[task for task in asyncio.all_tasks() if task.get_name() == "depths"])
    assert (await queued(depths), store.asked) == (2, 2)


async def test_who_asks_at_once_shares_a_count(store: Store) -> None:
    depths = QueueDepths(store.count, store.clock)
    store.gate.clear()
    asking = [asyncio.create_task(queued(depths)) for _ in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    assert (await asyncio.gather(*asking), store.asked) == ([1] * 5, 1)


async def test_a_store_that_is_away_is_said_to_who_waits(store: Store) -> None:
    depths = QueueDepths(store.count, store.clock)
    store.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await depths.latest()
    store.error = None
    assert await queued(depths) == 1


async def test_closing_breaks_a_count_off(store: Store) -> None:
    depths = QueueDepths(store.count, store.clock)
    store.gate.clear()
    asking = asyncio.create_task(depths.latest())
    await asyncio.sleep(0)
    await depths.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
