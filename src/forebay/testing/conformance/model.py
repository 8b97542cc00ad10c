"""Model: what a store should hold, in a few dictionaries. The state machine steps it beside a real store.

What the specification leaves open (when a met join is noticed, when a job past its deadline is found) the model takes
over from the store in ``follow``, after it made sure that it was allowed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from forebay.domain.attempt import Attempt
from forebay.domain.change import Claimed, Verdict
from forebay.domain.job import LIVE, POISON_DEATHS, POISON_DEATHS_OF_A_GROUP, Ending, Job, Join, Status, Taken

LEASE_SECONDS = 30.0
SUSPECT_AFTER = 2


@dataclass(slots=True, kw_only=True)
class Node:
    """A job as the model knows it. ``calls``: the outcome of each begun call by its number."""

    id: str
    parent_id: str
    key: str
    is_group: bool
    deadline: float
    due_at: float
    status: Status = Status.QUEUED
    ending: Ending | None = None
    join: Join | None = None
    is_collected: bool = False
    taken: dict[Status, int] = field(default_factory=dict)
    fence: int = 0  # of the current lease; 0: none
    worker: str = ""
    is_alone: bool = False
    rescues: int = 0
    lone_rescues: int = 0
    calls: dict[int, str] = field(default_factory=dict)
    open_calls: set[int] = field(default_factory=set)  # begun under the current lease
    result: str | None = None
    ends: int = 0  # how often it ended: once, and once more for each retry

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def is_suspect(self) -> bool:
        return self.rescues >= SUSPECT_AFTER


@dataclass(slots=True, kw_only=True)
class Held:
    """What a worker, alive or not, thinks that it holds."""

    claimed: Claimed
    call: Attempt | None = None


class Model:
    """All jobs, the last heartbeat of each worker, and what was accepted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.nodes: dict[str, Node] = {}
        self.beats: dict[str, float] = {}
        self.accepted = 0
        self.last_fence = 0

    def children(self, parent_id: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.parent_id == parent_id != ""]

    def held(self, worker: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.fence and node.worker == worker]

    def known(self, job: Job) -> Node | None:
        """The node that the job's key names already."""
        same = (job.parent_id, job.key)
        return next((node for node in self.nodes.values() if job.key and (node.parent_id, node.key) == same), None)

    def add(self, job: Job) -> Node:
        """A new job, or the one that its key names."""
        if (node := self.known(job)) is not None:
            return node
        node = self.nodes[job.id] = Node(
            id=job.id,
            parent_id=job.parent_id,
            key=job.key,
            is_group=job.is_group,
            deadline=job.deadline,
            due_at=job.due_at,
        )
        self.accepted += 1
        parent = self.nodes.get(job.parent_id)
        if parent is not None and (parent.ending is not None or not parent.is_live):
            self.end(node, Status.CANCELLED)
        return node

    def is_claimable(self, node: Node, *, is_group: bool, is_alone: bool) -> bool:
        is_there = node.status is Status.QUEUED and node.is_group is is_group and node.due_at <= self.now
        return is_there and node.is_suspect is is_alone and (node.is_group or node.deadline > self.now)

    def claim(self, claimed: Claimed, worker: str) -> None:
        node = self.nodes[claimed.job.id]
        assert self.is_claimable(node, is_group=node.is_group, is_alone=claimed.is_alone), "claimed what it must not"
        assert claimed.fence > self.last_fence, "a fence did not grow"
        assert claimed.job.ending == node.ending
        self.last_fence = claimed.fence
        node.status, node.fence, node.worker, node.is_alone = Status.RUNNING, claimed.fence, worker, claimed.is_alone
        node.open_calls = set()

    def is_current(self, claimed: Claimed) -> bool:
        node = self.nodes.get(claimed.job.id)
        return node is not None and node.fence == claimed.fence

    def begin(self, claimed: Claimed, number: int) -> bool:
        if not self.is_current(claimed):
            return False
        node = self.nodes[claimed.job.id]
        node.calls[number] = "running"
        node.open_calls.add(number)
        return True

    def complete(self, claimed: Claimed, number: int) -> None:
        """An answer, late or not, completes its call, if it still stands in the ledger and has no answer yet."""
        node = self.nodes.get(claimed.job.id)
        if node is not None and node.calls.get(number) in ("running", "unknown"):
            node.calls[number] = "succeeded"

    def answer(self, node: Node, status: Status, result: str) -> None:
        """A terminal answer under a good lease."""
        self.end(node, Status.CANCELLED if node.is_group and node.ending is not None else status)
        node.result = result

    def queue_again(self, node: Node, due_at: float) -> None:
        """A retry or a snooze under a good lease: under an ending it is a leaf's last."""
        self._free(node)
        if node.ending is not None and not node.is_group:
            self.end(node, Status.CANCELLED)
        else:
            node.status, node.due_at = Status.QUEUED, due_at

    def spawn(self, node: Node, children: Iterable[Job], join: Join) -> None:
        self._free(node)
        node.status, node.join = Status.WAITING, join if node.ending is None else Join()
        node.rescues = node.lone_rescues = 0
        for child in children:
            self.add(child)

    def collect(self, node: Node, children: Collection[Node]) -> None:
        for child in children:
            node.taken[child.status] = node.taken.get(child.status, 0) + 1
            child.is_collected = True
            if child.status is Status.SUCCEEDED:
                del self.nodes[child.id]

    def end(self, node: Node, status: Status) -> None:
        self._free(node)
        node.status = status
        node.ends += 1
        for child in self.children(node.id):
            self.cancel(child)

    def cancel(self, node: Node) -> None:
        if not node.is_live:
            return
        if node.is_group:
            node.ending, node.due_at = node.ending or Ending.CANCEL, min(node.due_at, self.now)
            node.join = node.join and Join()
            for child in self.children(node.id):
                self.cancel(child)
        elif node.fence:
            node.ending = Ending.CANCEL
        else:
            self.end(node, Status.CANCELLED)

    def retry(self, node: Node) -> None:
        parent = self.nodes.get(node.parent_id)
        if parent is not None and node.is_collected:
            parent.taken[node.status] -= 1
        node.status, node.ending, node.due_at, node.is_collected = Status.QUEUED, None, self.now, False
        node.rescues = node.lone_rescues = 0
        node.deadline = self.now + 10**9  # the machine retries with no other deadline in mind
        node.result = None
        for child in self.children(node.id):
            if not child.is_live and child.status is not Status.SUCCEEDED:
                self.retry(child)

    def recover(self) -> None:
        """Frees what dead workers held, and ends the leaves past their deadline."""
        for worker, beat in list(self.beats.items()):
            if beat + LEASE_SECONDS < self.now:
                for node in self.held(worker):
                    self._rescue(node)
        for node in list(self.nodes.values()):
            if node.status is Status.QUEUED and not node.is_group and node.deadline <= self.now:
                self.end(node, Status.FAILED)

    def is_met(self, node: Node) -> bool:
        """Whether the join of a waiting group is met."""
        join = node.join or Join()
        children = [child for child in self.children(node.id) if not child.is_collected]
        live = sum(child.is_live for child in children)
        won = node.taken.get(Status.SUCCEEDED, 0) + sum(child.status is Status.SUCCEEDED for child in children)
        return live <= join.live or (join.successes is not None and won >= join.successes)

    def wake(self, node: Node) -> None:
        node.status, node.due_at = Status.QUEUED, self.now

    def follow(self, row: Job) -> None:
        """Takes over what the store was free to do by now, if it was."""
        node = self.nodes.get(row.id)
        assert node is not None, f"{row.id} was never added, or was collected"
        if node.status is Status.WAITING and row.status is Status.QUEUED:
            assert self.is_met(node), f"{row.id} woke before its join was met"
            self.wake(node)
        is_late = node.status is Status.QUEUED and not node.is_group and node.deadline <= self.now
        if is_late and row.status is Status.FAILED and row.error is not None and row.error.code == "expired":
            self.end(node, Status.FAILED)

    def taken(self, node: Node) -> Taken:
        count = node.taken.get
        return Taken(
            succeeded=count(Status.SUCCEEDED, 0), failed=count(Status.FAILED, 0), cancelled=count(Status.CANCELLED, 0)
        )

    def _rescue(self, node: Node) -> None:
        is_alone, has_run = node.is_alone, node.is_group or bool(node.open_calls)
        for number in node.open_calls:
            node.calls[number] = "unknown"
        self._free(node)
        node.rescues += has_run
        node.lone_rescues += has_run and is_alone
        if node.ending is not None and not node.is_group:
            self.end(node, Status.CANCELLED)
        elif node.lone_rescues >= (POISON_DEATHS_OF_A_GROUP if node.is_group else POISON_DEATHS):
            self.end(node, Status.FAILED)
        else:
            node.status, node.due_at = Status.QUEUED, self.now

    def _free(self, node: Node) -> None:
        node.fence, node.worker, node.is_alone, node.open_calls = 0, "", False, set()


def verdict(is_current: bool) -> Verdict:
    """The reply that is due under a current lease, or a stale one."""
    return Verdict.APPLIED if is_current else Verdict.LEASE_LOST
