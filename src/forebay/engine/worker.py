"""Worker: claims jobs for the slots that are free, and runs them. One a process; a server brings its own."""

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from types import TracebackType

import msgspec
import structlog

from forebay.domain.change import Claimed, Recovered, Renewal, Want, Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.lane import NOTIFY_PREFIX
from forebay.engine.finisher import Finisher
from forebay.engine.handlers.table import make_handlers
from forebay.engine.heartbeat import Heartbeat
from forebay.engine.lanes import Lanes
from forebay.engine.lessons import Lessons
from forebay.engine.maintenance import Maintenance
from forebay.engine.runner import Runner
from forebay.engine.services import Services
from forebay.engine.slots import Slots
from forebay.engine.stopping import stopped
from forebay.engine.suspects import TURN_SECONDS, Suspects
from forebay.policy.lifecycle import hand_back
from forebay.ports import Watch
from forebay.processes import started_at

log = structlog.get_logger(__name__)
DELIVERIES = f"ready:{NOTIFY_PREFIX}"
POLL_SECONDS = 1.0  # hints make it fast; polling must suffice
STORE_PAUSE_SECONDS = 0.5
FEW, MANY = 64, 256  # jobs of a claim, jobs that run: a claim costs what it costs however little it brings
GATHERING_SECONDS = 0.002  # so long more slots come free for the next one
FLUSH_SECONDS = 10.0  # a drain's last wait for a store that is away


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker behaves. ``targets``: those that it serves (None: all that are configured)."""

    lease_seconds: float = 30.0
    drain_seconds: float = 30.0  # how long running calls may take to finish on SIGTERM
    targets: frozenset[str] | None = None
    failover_after_seconds: float = 5.0


class WorkerProcess:
    """``async with`` starts it; leaving drains it: running calls finish within the limit, the rest is handed back."""

    heartbeat: type[Heartbeat] = Heartbeat  # a simulation, which has no threads, beats in its own way

    def __init__(self, services: Services, options: WorkerOptions) -> None:
        self._services = services
        self._options = options
        self.lanes = lanes = Lanes.make(services, options.targets, options.failover_after_seconds)
        self.worker = Worker(
            id=services.ids.new("worker"),
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_started=started_at(os.getpid()),
            queues=lanes.queues,
            lease_seconds=options.lease_seconds,
        )
        self._finisher = Finisher(services.jobs)
        self._runner = Runner(services, make_handlers(services, lanes), self._finisher)
        self._slots = Slots(self._runner.run, self._ended)
        self._wake = asyncio.Event()
        self._suspects = Suspects()
        self._lessons = Lessons(lanes, services, self.worker.id)
        self._background: list[asyncio.Task[None]] = []
        self._broken_off: list[asyncio.Future[list[Claimed]]] = []  # claims that were cancelled before their reply
        self._draining = asyncio.Lock()
        self._is_drained = False

    async def __aenter__(self) -> "WorkerProcess":
        try:
            await self._services.jobs.renew(self.worker)
        except StoreUnavailable as unavailable:  # a later beat registers it, or its first claim
            log.error("store_unavailable", verb="register", reason=str(unavailable))  # noqa: TRY400
        self._heartbeat = self.heartbeat(self._services.jobs, self.worker, self._on_renewal)
        self._heartbeat.start()
        maintenance = Maintenance(self._services, self._on_recovered)
        self._claiming = asyncio.create_task(self._claim_for_ever(), name="claim")
        self._background = [
            self._claiming,
            asyncio.create_task(self._finisher.run(), name="finish"),
            asyncio.create_task(self._listen(), name="listen"),
            asyncio.create_task(maintenance.run(), name="maintenance"),
            asyncio.create_task(self._lessons.run(), name="lessons"),
        ]
        log.info("worker_started", worker=self.worker.id, queues=len(self.lanes.queues))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self) -> None:
        """Claims no more, lets running calls finish, breaks off the rest, and hands every lease back. Idempotent."""
        async with self._draining:
            if not self._is_drained:
                await self._drain()
                self._is_drained = True

    async def claim_once(self) -> int:
        """Claims what there are slots for and starts it. Returns how many jobs that was."""
        now = self._services.clock.now()
        await self.lanes.refill(now)
        wants = self.lanes.wants(now)
        if self._suspects.are_wanted(wants):
            return await self._claim_suspect()
        for _ in range(self.lanes.turns(now)):
            if not wants:
                break
            claimed = await self._claim(wants)
            if claimed:
                return len(claimed)
            wants = self.lanes.wants(now)
        return 0

    async def run_until_idle(self) -> int:
        """Runs what is claimable now, and what that makes claimable, to its end; a step for tests, without any loop."""
        total = 0
        while True:
            await self._slots.emptied.wait()
            await self._finisher.flush()
            self.lanes.couriers.hint()
            claimed = await self.claim_once()
            if not claimed:
                return total
            total += claimed

    async def _drain(self) -> None:
        await stopped([self._claiming])
        self.lanes.send_waiting_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain_seconds):
                await self._slots.emptied.wait()
        await self._slots.close()
        if self._broken_off:  # what they bring is handed back before the last flush
            await asyncio.wait(self._broken_off, timeout=FLUSH_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._finisher.flushed()
        await stopped(self._background)
        await self._heartbeat.close()
        if self._finisher.waiting:  # the leases are kept: they are freed when this process is gone
            log.error("answers_not_written", worker=self.worker.id, answers=self._finisher.waiting)
            return
        try:
            await self.lanes.close()
            await self._lessons.close()
            handed_back = await self._services.jobs.retire(self.worker)
            log.info("worker_drained", worker=self.worker.id, handed_back=handed_back)
        except StoreUnavailable as unavailable:  # likewise
            log.error("store_unavailable", verb="retire", reason=str(unavailable))  # noqa: TRY400

    async def _claim(self, wants: list[Want], *, is_alone: bool = False) -> list[Claimed]:
        """Claims and starts. Broken off in between, it hands back what it was given: a claim is committed all the
        same, and its jobs would stand still until the drain ends.
        """
        began_at = self._services.clock.now()
        claim = asyncio.ensure_future(self._services.jobs.claim(self.worker, wants, is_alone=is_alone))
        try:
            claimed = await asyncio.shield(claim)
        except asyncio.CancelledError:
            self._broken_off.append(claim)
            claim.add_done_callback(self._hand_back)
            raise
        if claimed:
            self.lanes.claims.took(max(0.0, self._services.clock.now() - began_at))
        for one in claimed:
            self._start(one)
        return claimed

    def _hand_back(self, claim: "asyncio.Future[list[Claimed]]") -> None:
        if claim.cancelled() or claim.exception() is not None:
            return
        now = self._services.clock.now()
        for one in claim.result():
            self._finisher.put(hand_back(one, [], now=now))

    async def _claim_suspect(self) -> int:
        """Runs suspects one by one, with nothing beside them. What runs now ends first."""
        try:
            async with asyncio.timeout(self._suspects.wait_seconds):
                await self._slots.emptied.wait()
        except TimeoutError:
            self._suspects.were_waited_for(self._services.clock.now())
            return 0
        clock, found = self._services.clock, 0
        began_at = clock.now()
        while await self._run_suspect():
            found += 1
            if clock.now() - began_at >= TURN_SECONDS:
                break
        self._suspects.were_tried(is_found=found > 0, now=clock.now(), seconds=clock.now() - began_at)
        return found

    async def _run_suspect(self) -> bool:
        """Runs the next one to its end. The answers before it free their leases: a suspect's worker holds no other."""
        if self._finisher.waiting:
            await self._finisher.flush()
        now = self._services.clock.now()
        claimed: list[Claimed] = []
        for _ in range(self.lanes.turns(now)):  # a lane with one free slot asks its queues in turn
            wants = self._suspects.among(self.lanes.wants(now))
            if wants and (claimed := await self._claim(wants, is_alone=True)):
                break
        for one in claimed:
            log.warning("suspect_runs_alone", job_id=one.job.id, rescues=one.job.rescues)
        await self._slots.emptied.wait()
        return bool(claimed)

    async def _claim_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                if claimed := await self.claim_once():
                    if claimed < FEW and self._slots.busy > MANY:
                        await asyncio.sleep(GATHERING_SECONDS)
                    continue
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="claim", reason=str(unavailable))  # noqa: TRY400
                await asyncio.sleep(STORE_PAUSE_SECONDS)
            except Exception:
                log.exception("claim_failed")
                await asyncio.sleep(STORE_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):  # no wait_for: in Python 3.11 a cancellation may be lost in it
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wake.wait()

    def _pause_seconds(self) -> float:
        now = self._services.clock.now()
        wake_at = self.lanes.wake_at(now)
        pause = POLL_SECONDS if wake_at is None else min(max(wake_at - now, 0.001), POLL_SECONDS)
        return pause * (0.9 + 0.2 * self._services.chance.random()) if wake_at is None else pause

    def _start(self, claimed: Claimed) -> None:
        self.lanes.enter(claimed)
        self._slots.dispatch(claimed)

    def _ended(self, claimed: Claimed) -> None:
        self.lanes.leave(claimed)
        self._wake.set()

    async def _listen(self) -> None:
        watch: Watch = self._services.jobs.watch([f"ready:{queue}" for queue in self.lanes.queues])
        try:
            while True:
                if DELIVERIES in await watch.next():
                    self.lanes.couriers.hint()
                self._wake.set()
        finally:
            watch.close()

    def _on_renewal(self, renewal: Renewal) -> None:
        if not renewal.is_alive:
            log.warning("leases_lost", worker=self.worker.id, epoch=renewal.epoch)
            self.worker = msgspec.structs.replace(self.worker, epoch=renewal.epoch)
            self._runner.drop_all()
        self._runner.stop(renewal.stopping)

    def _on_recovered(self, recovered: Recovered) -> None:
        self._suspects.stand_in(recovered.suspects, self._services.clock.now())
        if recovered.suspects or recovered.due or recovered.woken or recovered.rescued:
            self._wake.set()
