"""Couriers: the slots of deliveries, which no target can take, and which queue of an endpoint gets how many of them.

An endpoint has a queue of its own, and few slots: one that hangs delays no other. One whose last delivery failed has a
single slot until one succeeds, so that many dead endpoints leave room as well.
"""

from collections.abc import Sequence

from forebay.domain.change import Want
from forebay.domain.lane import NOTIFY_PREFIX
from forebay.ports import JobStore

SLOTS = 128  # deliveries at once in one worker
SLOTS_OF_ONE = 8  # to one endpoint
SLOTS_OF_A_DEAD_ONE = 1
LOOK_SECONDS = 1.0  # hints make it fast; looking must suffice
MOST_QUEUES = 64  # asked in one claim
MOST_FAILING = 10_000


class Couriers:
    """What this worker knows of the queues of deliveries."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._queues: Sequence[str] = ()
        self._busy: dict[str, int] = {}
        self._failing: set[str] = set()
        self._look_at = 0.0
        self._looked_at = 0.0
        self._after = ""

    @property
    def busy(self) -> int:
        return sum(self._busy.values())

    def hint(self) -> None:
        """Something may have become claimable: look at the next claim."""
        self._look_at = 0.0

    async def look(self, now: float) -> None:
        """Looks which queues have something, now and then. Raises: StoreUnavailable."""
        if self._looked_at <= now < self._look_at:
            return
        self._looked_at, self._look_at = now, now + LOOK_SECONDS
        found = await self._jobs.queues(NOTIFY_PREFIX, after=self._after, limit=MOST_QUEUES)
        if len(found) < MOST_QUEUES and self._after:  # round again from the first
            first = await self._jobs.queues(NOTIFY_PREFIX, limit=MOST_QUEUES - len(found))
            found += [queue for queue in first if queue not in found]
        self._after = found[-1] if len(found) == MOST_QUEUES else ""
        if self._after:
            self._look_at = now  # there may be more than one claim asks for
        self._queues = found

    def wants(self) -> list[Want]:
        """What to claim: for each queue that had something its free slots."""
        free = SLOTS - self.busy
        wants: list[Want] = []
        for queue in self._queues:
            most = SLOTS_OF_A_DEAD_ONE if queue in self._failing else SLOTS_OF_ONE
            slots = min(most - self._busy.get(queue, 0), free)
            if slots > 0:
                wants.append(Want(queue=queue, lane=queue, slots=slots))
        return wants

    def enter(self, queue: str) -> None:
        self._busy[queue] = self._busy.get(queue, 0) + 1

    def leave(self, queue: str) -> None:
        left = self._busy[queue] - 1
        if left:
            self._busy[queue] = left
        else:
            del self._busy[queue]
        self.hint()  # its queue may have more

    def heard(self, queue: str, *, is_well: bool) -> None:
        """How the last delivery of a queue went."""
        if is_well:
            self._failing.discard(queue)
        elif len(self._failing) < MOST_FAILING:
            self._failing.add(queue)


def is_delivery(queue: str) -> bool:
    """Whether a queue, or the lane of a lease, is an endpoint's."""
    return queue.startswith(NOTIFY_PREFIX)
