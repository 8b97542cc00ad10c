"""The witness: looks at the store and the targets at every commit and every call, and says what must never be seen."""

from collections.abc import Callable, Collection

from forebay.domain.inference import Call
from forebay.testing.simulation.plan import Plan
from forebay.testing.simulation.processes import Process
from forebay.testing.simulation.store import FailingConnection
from forebay.testing.simulation.targets import Books

ATTEMPT = """
SELECT l.is_alone FROM attempts a LEFT JOIN leases l ON l.fence = a.fence AND l.worker_id = ?3
WHERE a.job_id = ?1 AND a.number = ?2
"""
LONE = """
SELECT l.job_id, l.fence FROM leases l JOIN jobs j ON j.id = l.job_id
WHERE l.is_alone = 1
  AND (j.is_group OR EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = l.job_id AND a.fence = l.fence))
"""
BROKEN_OFF_SECONDS = 0.1


class Witness:
    """``broken``: one sentence for each thing seen. ``alone``: the fences under which a job ran alone and may
    have been the end of its worker: it had begun a call, or it is a group, which makes none.
    """

    def __init__(self, connection: FailingConnection, books: Books, plan: Plan, say: Callable[[str], None]) -> None:
        self.broken: list[str] = []
        self.alone: dict[str, set[int]] = {}
        self._lone_calls: dict[Process, str] = {}  # the last call of a suspect
        self._connection = connection
        self._books = books
        self._plan = plan
        self._say = say

    def rows(self, query: str, *bindings: str | int) -> list[tuple[object, ...]]:
        """What stands in the store now."""
        return self._connection.execute(query, bindings).fetchall()

    def saw(self, target: str, call: Call, process: Process) -> None:
        """A call has reached a target."""
        self._say(f"call {call.job_id} {call.attempt} at {target}")
        attempts = self.rows(ATTEMPT, call.job_id, call.attempt, process.worker_id)
        has_row = self.rows("SELECT 1 FROM jobs WHERE id = ?", call.job_id)
        if has_row and not attempts:
            self.broken.append(f"{call.job_id} was sent with attempt {call.attempt}, which is not in the ledger")
        self._beside(call, process, is_alone=bool(attempts and attempts[0][0]))

    def committed(self, verbs: Collection[str]) -> None:
        """A transaction is over."""
        if "begin" in verbs or "claim" in verbs:
            for job_id, fence in self.rows(LONE):
                self.alone.setdefault(str(job_id), set()).add(int(str(fence)))
        if self._plan.concurrency is None:
            return
        [[held]] = self.rows("SELECT count(*) FROM leases WHERE lane = 'a'")
        if isinstance(held, int) and held > self._plan.concurrency:
            self.broken.append(f"lane a has {held} leases and may have {self._plan.concurrency}")

    def drained(self, process: Process) -> None:
        """A process has ended in good order: it has handed everything back."""
        [[held]] = self.rows("SELECT count(*) FROM leases WHERE worker_id = ?", process.worker_id)
        if held:
            self.broken.append(f"{process.name} has drained and holds {held} leases")

    def lost(self, process: Process) -> None:
        """A process was told that its leases were taken: what it has under way is broken off."""
        under_way = frozenset(self._books.under_way.get(process, ()))

        def look() -> None:
            left = under_way & self._books.under_way.get(process, {}).keys()
            self.broken += [f"{process.name} goes on with call {name}, whose lease it lost" for name in sorted(left)]

        # In its own time: it may be stopped meanwhile, or gone.
        process.main.loop.call_later(BROKEN_OFF_SECONDS, look, context=process.main.context)

    def _beside(self, call: Call, process: Process, *, is_alone: bool) -> None:
        """A suspect runs with nothing beside it."""
        under_way = self._books.under_way[process]
        others = {job_id for job_id in under_way.values() if job_id != call.job_id}
        if is_alone:
            self._lone_calls[process] = f"{call.job_id} {call.attempt}"
            if others:
                self.broken.append(f"the suspect {call.job_id} runs beside {sorted(others)}")
        elif self._lone_calls.get(process) in under_way:
            self.broken.append(f"{call.job_id} runs beside the suspect {self._lone_calls[process]}")
