"""The state machine: a real store beside the Model, under every verb, in every order, with crashes at every point.

Crash points: after a claim (the worker drops what it holds and its lease runs out), in the call (begun, never
answered), before the commit (likewise; the answer comes late, from a zombie), between commit and settle (the answer is
applied, nobody settles), and, where ``is_durable``, a restart of the process at any time.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forebay.domain.answer import Taking
from forebay.domain.change import Lookup, Verdict, Want
from forebay.domain.job import Job, Join, Status
from forebay.domain.query import JobQuery, Parts
from forebay.ports import Clock
from forebay.testing.conformance import chances as draw
from forebay.testing.conformance.model import Held, Model, Node, verdict
from forebay.testing.conformance.world import LANE, LEASE_SECONDS, QUEUE, TELL, OpenedStore, World, opened, result

T = TypeVar("T")
OpenAt = Callable[[Path, Clock], Awaitable[OpenedStore]]

CAP = 2
EVERYTHING = Parts(result=True, attempts=True)
MANY = 10_000


class StoreMachine(RuleBasedStateMachine):
    """Subclasses say how a store is opened in a new folder; see ``machine_for``."""

    open_at: OpenAt
    is_durable: bool

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-"))
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        open_at = type(self).open_at
        self.world: World = self.run(self.stack.enter_async_context(opened(lambda clock: open_at(self.folder, clock))))
        self.model = Model()
        self.model.now = self.world.clock.now()
        self.held: list[Held] = []
        self.answers = 0

    def run(self, step: Awaitable[T]) -> T:
        async def main() -> T:
            return await step

        return self.runner.run(main())

    def teardown(self) -> None:
        try:
            self._drain()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    @initialize(keys=draw.MANY_LINES, join=draw.JOINS)
    def begin_with_a_group_and_leaves(self, keys: list[str], join: Join) -> None:
        self.add_group("")
        self.work_on_a_group("w1", keys, join, is_collecting=False, is_settled=True, is_last=False)
        for lifespan in (50.5, 10.0**6):
            self.add_leaf("", lifespan, 0.0)

    @rule(key=draw.KEYS, lifespan=draw.LIFESPANS, delay=st.sampled_from([0.0, 0.0, 20.0]))
    def add_leaf(self, key: str, lifespan: float, delay: float) -> None:
        now = self.model.now
        self._add(self.world.make(key=key, due_at=now + delay, deadline=now + lifespan, on_end=(TELL,)))

    @rule(key=draw.KEYS)
    def add_group(self, key: str) -> None:
        self._add(self.world.make_group(key=key and f"group-{key}", deadline=self.model.now + 10**9, on_end=(TELL,)))

    @precondition(lambda self: self._groups())
    @rule(place=draw.PLACES, key=st.sampled_from(["0", "1", "x"]))
    def add_child_from_outside(self, place: int, key: str) -> None:
        groups = self._groups()
        self._add(self._line(groups[place % len(groups)].id, key))

    @rule(
        worker=draw.WORKERS, slots=st.integers(min_value=1, max_value=5), is_group=st.booleans(), is_alone=st.booleans()
    )
    def claim(self, worker: str, slots: int, is_group: bool, is_alone: bool) -> None:
        self._claim(worker, slots, is_group=is_group, is_alone=is_alone)

    @rule(worker=draw.WORKERS, plans=draw.LEAF_PLANS, is_alone=st.booleans())
    def work_on_leaves(self, worker: str, plans: list[str], is_alone: bool) -> None:
        """Claims, and deals with each job by a plan: lost before, in or after its call, or answered in some way."""
        before = len(self.held)
        self._claim(worker, len(plans), is_group=False, is_alone=is_alone)
        for held, plan in zip(self.held[before:], plans, strict=False):
            if plan != "drop":
                self._begin(held)  # a dropped one may begin its call as a zombie
            if plan not in ("drop", "call"):
                self.held.remove(held)
            match plan:
                case "succeed" | "forget":
                    self._answer(held, Status.SUCCEEDED, is_settled=plan == "succeed")
                case "fail":
                    self._answer(held, Status.FAILED, is_settled=True)
                case "again":
                    self._queue_again(held, 20.0)

    @rule(worker=draw.WORKERS, slots=st.integers(min_value=1, max_value=2), is_alone=st.booleans())
    def crash_in_the_call(self, worker: str, slots: int, is_alone: bool) -> None:
        """What makes suspects of jobs, and poison of suspects."""
        before = len(self.held)
        self._claim(worker, slots, is_group=False, is_alone=is_alone)
        for held in self.held[before:]:
            self._begin(held)
        self.crash(set())

    @rule(
        worker=draw.WORKERS,
        keys=draw.LINES,
        join=draw.JOINS,
        is_collecting=st.booleans(),
        is_settled=st.booleans(),
        is_last=st.sampled_from([False, False, True]),
    )
    def work_on_a_group(
        self, worker: str, keys: list[str], join: Join, is_collecting: bool, is_settled: bool, is_last: bool
    ) -> None:
        if self._claim(worker, 1, is_group=True, is_alone=False):
            if is_last:
                self._answer(self.held.pop(), Status.SUCCEEDED, is_settled=is_settled)
            else:
                self._spawn(self.held.pop(), keys, join, is_collecting=is_collecting, is_settled=is_settled)

    @precondition(lambda self: self._stale())
    @rule(place=draw.PLACES, status=draw.ENDS, is_overtaken=st.booleans())
    def come_back_as_a_zombie(self, place: int, status: Status, is_overtaken: bool) -> None:
        """One whose lease was taken away begins its call, writes into the stream, and answers: all in vain."""
        held = self._stale()[place % len(self._stale())]
        if is_overtaken:
            self._claim("w3", 5, is_group=held.claimed.job.is_group, is_alone=False)
        self._begin(held)
        job, fence = held.claimed.job, held.claimed.fence
        assert self.run(self.world.jobs.append(job.id, fence, ["late"])) is Verdict.LEASE_LOST
        self.held.remove(held)
        self._answer(held, status, is_settled=True)

    @rule(alive=st.sets(draw.WORKERS, max_size=1))
    def crash(self, alive: set[str]) -> None:
        """The other workers die, and someone sweeps; what they held may still be answered, late."""
        self.let_time_pass(31, alive)
        self.sweep()

    @precondition(lambda self: self.held)
    @rule(place=draw.PLACES)
    def begin_call(self, place: int) -> None:
        self._begin(self.held[place % len(self.held)])

    @precondition(lambda self: self.held)
    @rule(place=draw.PLACES, status=draw.ENDS, is_settled=st.booleans())
    def answer(self, place: int, status: Status, is_settled: bool) -> None:
        """Also the late answers of zombies: their leases were taken away."""
        self._answer(self.held.pop(place % len(self.held)), status, is_settled=is_settled)

    @precondition(lambda self: self.held)
    @rule(place=draw.PLACES, delay=st.sampled_from([0.0, 20.0]))
    def queue_again(self, place: int, delay: float) -> None:
        self._queue_again(self.held.pop(place % len(self.held)), delay)

    @precondition(lambda self: any(held.claimed.job.is_group for held in self.held))
    @rule(place=draw.PLACES, keys=draw.LINES, join=draw.JOINS, is_collecting=st.booleans(), is_settled=st.booleans())
    def spawn(self, place: int, keys: list[str], join: Join, is_collecting: bool, is_settled: bool) -> None:
        groups = [held for held in self.held if held.claimed.job.is_group]
        held = groups[place % len(groups)]
        self.held.remove(held)
        self._spawn(held, keys, join, is_collecting=is_collecting, is_settled=is_settled)

    @precondition(lambda self: self.model.nodes)
    @rule(place=draw.PLACES)
    def cancel(self, place: int) -> None:
        node = list(self.model.nodes.values())[place % len(self.model.nodes)]
        [reply] = self.run(self.world.jobs.cancel("default", [node.id]))
        self.model.cancel(node)
        assert (reply.status, reply.ending) in ((node.status, node.ending), (Status.QUEUED, node.ending))

    @precondition(lambda self: self._dead())
    @rule(place=draw.PLACES)
    def retry(self, place: int) -> None:
        dead = self._dead()
        node = dead[place % len(dead)]
        parent = self.model.nodes.get(node.parent_id)
        [reply] = self.run(self.world.jobs.retry("default", [node.id]))
        if parent is not None and not parent.is_live:
            assert reply.lookup is Lookup.PARENT_ENDED
            return
        assert reply.lookup is Lookup.DONE
        self.model.retry(node)
        for row in self._rows():
            self.model.nodes[row.id].deadline = row.deadline

    @rule(seconds=st.sampled_from([1, 10, 31, 70]), alive=st.sets(draw.WORKERS))
    def let_time_pass(self, seconds: int, alive: set[str]) -> None:
        self.model.now = self.world.clock.advance(seconds)
        for worker in sorted(alive):
            self._beat(worker)

    @rule()
    def sweep(self) -> None:
        self.model.recover()
        self.run(self.world.recover())
        self._assert_woken(self._groups())

    @precondition(lambda self: self.is_durable)
    @rule()
    def restart(self) -> None:
        self.run(self.world.reopen())

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        rows = self._rows()
        assert {row.id for row in rows} == self.model.nodes.keys()
        for row in rows:
            self._assert_agrees(row, self.model.nodes[row.id])
        running = [row for row in rows if row.status is Status.RUNNING and not row.is_group]
        assert len(running) <= CAP, "more leases than the lane's cap"
        self._assert_nothing_is_lost()

    def _assert_agrees(self, row: Job, node: Node) -> None:
        """Its state, every call in the ledger, and the one result of each job."""
        assert (row.status, row.ending) == (node.status, node.ending), f"{node}"
        counts = (row.rescues, row.lone_rescues, row.attempt_count)
        assert counts == (node.rescues, node.lone_rescues, len(node.calls)), f"{node}"
        assert row.taken == self.model.taken(node), f"{node}"
        assert {call.number: call.outcome.value for call in row.attempts} == node.calls, f"{node}"
        assert (row.result and row.result.body.text) == (node.result and f'"{node.result}"'), f"{node}"

    def _assert_nothing_is_lost(self) -> None:
        """All that was accepted is there or was taken over."""
        roots = [node for node in self.model.nodes.values() if not node.parent_id]
        tallies = self.run(self.world.jobs.tally([node.id for node in roots if node.is_group]))
        below = sum(tally.live + tally.succeeded + tally.failed + tally.cancelled for tally in tallies)
        assert len(roots) + below == self.model.accepted

    def _assert_told(self, notices: list[Job]) -> None:
        """Every end of a root tells once, and nothing else does."""
        told: dict[object, int] = {}
        for notice in notices:
            args = self.world.args(notice)
            assert isinstance(args, dict)
            told[args["job_id"]] = told.get(args["job_id"], 0) + 1
        assert told == {node.id: node.ends for node in self.model.nodes.values() if node.ends and not node.parent_id}

    def _add(self, job: Job) -> None:
        known = self.model.known(job)
        node = self.model.add(job)
        [added] = self.run(self.world.jobs.add([job]))
        assert (added.id, added.is_new) == (node.id, known is None)

    def _line(self, group: str, key: str) -> Job:
        return self.world.make(parent_id=group, key=key, deadline=self.model.now + 10**6, on_end=(TELL,))

    def _beat(self, worker: str) -> None:
        self.run(self.world.worker(worker))
        self.model.beats[worker] = self.model.now

    def _claim(self, worker: str, slots: int, *, is_group: bool, is_alone: bool) -> int:
        self._beat(worker)
        cap = None if is_group else CAP
        want = Want(queue="control" if is_group else QUEUE, lane="control" if is_group else LANE, slots=slots, cap=cap)
        busy = self.model.held(worker)
        running = sum(1 for node in self.model.nodes.values() if node.fence and not node.is_group)
        claims = self.run(self.world.jobs.claim(self.world.known(worker), [want], is_alone=is_alone))
        most = min(slots, CAP - running) if cap else slots
        if is_alone:
            most = 0 if busy else min(1, most)
        elif any(node.is_alone for node in busy):
            most = 0
        assert len(claims) <= most
        for claimed in claims:
            self.model.claim(claimed, worker)
            self.held.append(Held(claimed=claimed))
        if len(claims) < most:
            left = [
                n for n in self.model.nodes.values() if self.model.is_claimable(n, is_group=is_group, is_alone=is_alone)
            ]
            assert left == [], "a free slot, and jobs that nobody got"
        return len(claims)

    def _begin(self, held: Held) -> None:
        if held.call is None:
            call = self.world.attempt(held.claimed)
            is_current = self.model.begin(held.claimed, call.number)
            assert self.run(self.world.jobs.begin([call])) == [verdict(is_current)]
            held.call = call if is_current else None

    def _queue_again(self, held: Held, delay: float) -> None:
        due_at = self.model.now + delay
        if self._apply(held, Status.QUEUED, due_at=due_at):
            node = self.model.nodes[held.claimed.job.id]
            self.model.queue_again(node, due_at)
            self._settle([node.parent_id] if node.parent_id else [], True)

    def _spawn(self, held: Held, keys: list[str], join: Join, *, is_collecting: bool, is_settled: bool) -> None:
        group = held.claimed.job.id
        children = tuple(self._line(group, key) for key in keys)
        taken = self._ended_children(group) if is_collecting else []
        again = [child for child in self.model.children(group) if child.is_collected]  # named twice, taken once
        taking = Taking(collect=tuple(child.id for child in (*taken, *again)))
        if self._apply(held, Status.WAITING, children=children, join=join, taking=taking):
            node = self.model.nodes[group]
            self.model.collect(node, taken)
            self.model.spawn(node, children, join)
            self._settle([group], is_settled)

    def _apply(self, held: Held, status: Status, **fields: object) -> bool:
        is_current = self.model.is_current(held.claimed)
        calls = (self.world.completed(held.call),) if held.call else ()
        change = self.world.change(held.claimed, status, attempts=calls, **fields)
        assert self.run(self.world.jobs.apply([change])) == [verdict(is_current)]
        if held.call:
            self.model.complete(held.claimed, held.call.number)
        return is_current

    def _answer(self, held: Held, status: Status, *, is_settled: bool) -> None:
        self.answers += 1
        text = f"answer {self.answers}"
        if self._apply(held, status, result=result(text)):
            node = self.model.nodes[held.claimed.job.id]
            self.model.answer(node, status, text)
            self._settle([node.parent_id] if node.parent_id else [], is_settled)

    def _settle(self, group_ids: list[str], is_settled: bool) -> None:
        if is_settled and group_ids:
            self.run(self.world.jobs.settle(group_ids))
            self._assert_woken([self.model.nodes[group_id] for group_id in group_ids])

    def _assert_woken(self, groups: list[Node]) -> None:
        """No join that is met is still waited for, after someone looked."""
        self._rows()
        for node in groups:
            assert not (node.status is Status.WAITING and self.model.is_met(node)), f"{node} waits for nothing"

    def _drain(self) -> None:
        """Every worker dies; one that is new finishes what is left. Nobody waits for ever."""
        self.held.clear()
        self.model.now = self.world.clock.advance(LEASE_SECONDS + 1)
        for _ in range(60):
            self.sweep()
            for is_group, is_alone in ((False, False), (False, True), (True, False), (True, True)):
                while self._claim("last", 5, is_group=is_group, is_alone=is_alone):
                    while self.held:
                        self._answer(self.held.pop(), Status.SUCCEEDED, is_settled=True)
            if not any(node.is_live for node in self.model.nodes.values()):
                break
            self.model.now = self.world.clock.advance(25)
        self.the_store_holds_what_the_model_holds()
        assert [node for node in self.model.nodes.values() if node.is_live] == []

    def _stale(self) -> list[Held]:
        return [held for held in self.held if not self.model.is_current(held.claimed)]

    def _groups(self) -> list[Node]:
        return [node for node in self.model.nodes.values() if node.is_group]

    def _dead(self) -> list[Node]:
        """Those that may be retried: not below a group that was asked to end."""
        parents = self.model.nodes
        return [
            node
            for node in self.model.nodes.values()
            if node.status in (Status.FAILED, Status.CANCELLED)
            and not (node.parent_id and parents[node.parent_id].is_live and parents[node.parent_id].ending)
        ]

    def _ended_children(self, group_id: str) -> list[Node]:
        return [child for child in self.model.children(group_id) if not child.is_live and not child.is_collected]

    def _rows(self) -> list[Job]:
        """The store's rows but for the notices; the model follows them where it may."""
        query = JobQuery(tenant=None, parent_id=None, limit=MANY, is_ascending=True, parts=EVERYTHING)
        found = self.run(self.world.jobs.find(query))
        rows = [row for row in found if row.kind != TELL.kind]
        for row in rows:
            self.model.follow(row)
        self._assert_told([row for row in found if row.kind == TELL.kind])
        return rows


def machine_for(open_at: OpenAt, *, is_durable: bool) -> type[StoreMachine]:
    """The machine of one back end. ``open_at`` opens its store in a folder: empty at first, the same after a restart.

    Make a pytest class of it: ``TestMachine = machine_for(…).TestCase``, and give that its ``settings``.
    """
    return type("BackEndMachine", (StoreMachine,), {"open_at": staticmethod(open_at), "is_durable": is_durable})
