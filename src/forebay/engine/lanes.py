"""Lanes: what each target of this worker may take now, from what it answered and from what its limits allow."""

from collections.abc import Iterable, Mapping, Sequence

from forebay.domain.attempt import Outcome
from forebay.domain.change import Claimed, Want
from forebay.domain.errors import RemoteFailed, TargetError, TargetRejected
from forebay.domain.inference import InferenceResult
from forebay.domain.lane import CONTROL, NOTIFY_PREFIX, STEPS, route_queue, target_queue
from forebay.domain.target import Route, TargetSpec
from forebay.engine.couriers import Couriers, is_delivery
from forebay.engine.gate import ClaimTime, Gate
from forebay.engine.permits import Permits, permits_for
from forebay.engine.services import Services
from forebay.policy.attempts import judge
from forebay.policy.lanes import LaneState
from forebay.policy.rate_headers import rate_hints
from forebay.policy.windows import is_open, opens_at

FIRST_TYPICAL_TOKENS = 1_000.0
TYPICAL_SHARE = 0.1  # of the newest request in the moving average
STEP_SLOTS = 2  # each holds a database of its own in memory
CONTROL_SLOTS = 64  # groups run beside targets, never in their slots: no parent waits behind its children
OWN_SLOTS = {CONTROL: CONTROL_SLOTS, STEPS: STEP_SLOTS}  # of the kinds that call no target
MOST_AT_ONCE = 256  # jobs of one claim: they go through begin, call and answer together, and more fit no cache
LONGEST_WAIT_SECONDS = 1.0  # of a claimed job for a slot; then another worker or target may have it
CLOCK_BACK_SECONDS = 1.0  # a clock that was set back, and no mere correction


class Lane:
    """One target's lane in this worker."""

    def __init__(self, spec: TargetSpec, state: LaneState, services: Services) -> None:
        self.spec = spec
        self.state = state
        self.in_flight = 0
        self._calls_then = 0
        self.gate = Gate() if spec.limits.concurrency is None else None
        self._room = 0  # slots that were free as the claim was made
        self._clock = services.clock
        self._typical_tokens = FIRST_TYPICAL_TOKENS  # of a request: its own are known only once it is claimed
        self._meters = services.meters
        self._chance = services.chance
        self.requests, self.tokens = permits_for(spec, services.limits, services.clock)

    @property
    def name(self) -> str:
        return self.spec.name

    def is_open(self, now: float) -> bool:
        """Whether one of its time windows is open."""
        return is_open(self.spec.windows, now)

    def free_slots(self, now: float) -> int:
        """How many jobs may be claimed for this target now."""
        slots = self.state.free_slots(now, self.in_flight)
        if self.requests is not None:
            slots = min(slots, self.requests.pieces)
        if self.tokens is not None:
            slots = min(slots, self.tokens.pieces)
        return max(slots, 0)

    def is_busy(self, now: float) -> bool:
        """Whether a call is under way, or was sent since this was asked last, or is held back by a refusal."""
        before, self._calls_then = self._calls_then, self.state.calls
        return self.in_flight > 0 or self.state.calls != before or self.state.has_learned_pause(now)

    def wake_at(self, now: float) -> float | None:
        """When to look again although nothing was signalled: a pause ends, or permits come."""
        times = [permits.more_at for permits in self._permits() if not permits.pieces]
        resume = self.state.resume_at(now)
        if resume is not None:
            times.append(resume)
        return max(times, default=None)

    async def refill(self, now: float) -> None:
        """Asks the shared limits for permits."""
        if self.requests is not None:
            await self.requests.refill(now)
        if self.tokens is not None:
            await self.tokens.refill(now, self._typical_tokens)

    def forget_pauses(self) -> None:
        """Begins anew with the target: the clock was set back, and its pauses would last until it has caught up."""
        self.state = LaneState(self.spec.limits.concurrency, self._chance)

    def wanted(self, now: float, claims: ClaimTime) -> int:
        """How many jobs to claim now: for the slots that are free, and some for those that will be."""
        slots = self.free_slots(now)
        if self.gate is None:
            return slots
        self._room = slots
        if not self.in_flight or not self.state.is_steady(now):
            return slots
        return slots + max(0, claims.ahead(self.state.limit, self.state.latency) - len(self.gate))

    def enter(self, fence: int, tokens: int) -> None:
        """Takes a claimed job in: it gets a slot, or waits for one."""
        if self.gate is not None:
            if self._room <= 0 and self.free_slots(self._clock.now()) <= 0:
                self.gate.add(fence, tokens)
                return
            self._room -= 1
        self._admit(tokens)

    def open_gate(self, now: float) -> None:
        """Gives free slots to those who wait; under a longer pause they go back."""
        if not self.gate:
            return
        resume = self.state.resume_at(now)
        if resume is not None and resume - now > LONGEST_WAIT_SECONDS:
            self.gate.send_away()
            return
        while len(self.gate) and self.free_slots(now) > 0:
            tokens = self.gate.let_in()
            if tokens is None:
                return
            self._admit(tokens)

    def _admit(self, tokens: int) -> None:
        """It holds a slot, and its permits are spent."""
        self.in_flight += 1
        self.state.sent()
        self._meters.in_flight(self.name, self.in_flight)
        if self.requests is not None:
            self.requests.take(1)
        if self.tokens is not None:
            self.tokens.take(tokens)
            self._typical_tokens += TYPICAL_SHARE * (tokens - self._typical_tokens)

    def leave(self, fence: int) -> None:
        if self.gate is not None and self.gate.discard(fence):
            return
        self.in_flight -= 1
        self._meters.in_flight(self.name, self.in_flight)
        if self.gate:
            self.open_gate(self._clock.now())

    def observe(self, result: InferenceResult, latency_seconds: float, now: float) -> None:
        """Learns from an answer."""
        hints = rate_hints(result.headers, now) if result.headers else None
        self.state.record(
            Outcome.SUCCEEDED, latency_seconds=latency_seconds, now=now, hints=hints, in_flight=self.in_flight
        )

    def observe_error(self, error: TargetError, outcome: Outcome, latency_seconds: float, now: float) -> None:
        """Learns from a call that failed."""
        self.state.record(
            outcome,
            latency_seconds=latency_seconds,
            status_code=error.status_code,
            retry_after=error.retry_after,
            hints=rate_hints(error.headers, now) if error.headers else None,
            now=now,
            in_flight=self.in_flight,
        )

    def observe_poll(self, error: TargetError | None, latency_seconds: float, now: float) -> None:
        """Learns from a look at work that goes on elsewhere whether the target works; its speed is another one."""
        if error is not None and not isinstance(error, TargetRejected | RemoteFailed):
            self.observe_error(error, judge(error).outcome, latency_seconds, now)
            return
        self.state.record(Outcome.REJECTED, latency_seconds=latency_seconds, now=now, in_flight=self.in_flight)

    def observe_broken_off(self, latency_seconds: float, now: float) -> None:
        """Counts a call that we broke off: it says nothing of the target, but it is no longer under way."""
        self.state.record(Outcome.CANCELLED, latency_seconds=latency_seconds, now=now, in_flight=self.in_flight)

    def correct(self, estimated: int, actual: int | None) -> None:
        """Charges what a call really took, in place of its estimate."""
        if self.tokens is not None and actual is not None:
            self.tokens.take(actual - estimated)

    async def close(self) -> None:
        for permits in self._permits():
            await permits.close()

    def _permits(self) -> Sequence[Permits]:
        return [permits for permits in (self.requests, self.tokens) if permits is not None]


class Lanes:
    """All lanes of a worker, and the queues that they serve."""

    def __init__(
        self, lanes: Iterable[Lane], routes: Iterable[Route], failover_after_seconds: float, couriers: Couriers
    ) -> None:
        self.by_name: Mapping[str, Lane] = {lane.name: lane for lane in lanes}
        self._routes = [route for route in routes if any(entry.target in self.by_name for entry in route.entries)]
        self._failover_after_seconds = failover_after_seconds
        self.claims = ClaimTime()
        self.couriers = couriers
        self._busy = dict.fromkeys(OWN_SLOTS, 0)
        self._turn = 0
        self._seen_at = 0.0

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that this worker claims from."""
        targets = [target_queue(name) for name in self.by_name]
        return (CONTROL, STEPS, NOTIFY_PREFIX, *targets, *[route_queue(route.name) for route in self._routes])

    def wants(self, now: float) -> list[Want]:
        """What to claim now: for each queue as many as its target has free slots; a lane's queues share them."""
        wants = [Want(queue=queue, lane=queue, slots=most - self._busy[queue]) for queue, most in OWN_SLOTS.items()]
        served: dict[str, list[str]] = {name: [target_queue(name)] for name in self.by_name}
        for route in self._routes:
            lane = self._first_available(route, now)
            if lane is not None:
                served[lane.name].append(route_queue(route.name))
        self._turn += 1
        for name, queues in served.items():
            lane = self.by_name[name]
            slots = lane.wanted(now, self.claims)
            turned = queues[self._turn % len(queues) :] + queues[: self._turn % len(queues)]
            for place, queue in enumerate(turned):
                share = min((slots - place + len(queues) - 1) // len(queues), MOST_AT_ONCE)
                wants.append(Want(queue=queue, lane=name, slots=share, cap=lane.spec.limits.concurrency))
        return [want for want in wants if want.slots > 0] + self.couriers.wants()

    def enter(self, claimed: Claimed) -> None:
        """A claimed job takes its slot, or waits for one."""
        if claimed.lane in self._busy:
            self._busy[claimed.lane] += 1
        elif is_delivery(claimed.lane):
            self.couriers.enter(claimed.lane)
        else:
            self.by_name[claimed.lane].enter(claimed.fence, claimed.job.tokens)

    def leave(self, claimed: Claimed) -> None:
        """A job gives its slot back."""
        if claimed.lane in self._busy:
            self._busy[claimed.lane] -= 1
        elif is_delivery(claimed.lane):
            self.couriers.leave(claimed.lane)
        else:
            self.by_name[claimed.lane].leave(claimed.fence)

    def turns(self, now: float) -> int:
        """How many times to ask for ``wants`` so that each queue was asked once: a lane with fewer free slots than
        queues asks some of them only.
        """
        free = {name: lane.free_slots(now) for name, lane in self.by_name.items()}
        queues = {name: 1 + sum(self._serves(route, name) for route in self._routes) for name in self.by_name}
        return max((-(-queues[name] // slots) for name, slots in free.items() if slots), default=1)

    @classmethod
    def make(cls, services: Services, served: frozenset[str] | None, failover_after_seconds: float) -> "Lanes":
        """The lanes of the declared targets, or of those that are named."""
        specs = [spec for name, spec in services.specs.items() if served is None or name in served]
        lanes = [Lane(spec, LaneState(spec.limits.concurrency, services.chance), services) for spec in specs]
        return cls(lanes, services.routes, failover_after_seconds, Couriers(services.jobs))

    async def refill(self, now: float) -> None:
        if now < self._seen_at - CLOCK_BACK_SECONDS:
            for lane in self.by_name.values():
                lane.forget_pauses()
        self._seen_at = now
        for lane in self.by_name.values():
            await lane.refill(now)
            lane.open_gate(now)
        await self.couriers.look(now)

    def send_waiting_back(self) -> None:
        """Of what was claimed and not begun, nothing is kept."""
        for lane in self.by_name.values():
            if lane.gate is not None:
                lane.gate.send_away()

    def wake_at(self, now: float) -> float | None:
        """The next time at which a lane may have slots again by itself."""
        times = [time for lane in self.by_name.values() if (time := lane.wake_at(now)) is not None]
        return min(times, default=None)

    async def close(self) -> None:
        for lane in self.by_name.values():
            await lane.close()

    def seconds_closed(self, lane: Lane, queue: str, now: float) -> float | None:
        """How long the time windows of a lane, and of the other targets of a route, stay closed; None: it is open."""
        if lane.is_open(now):
            return None
        others = [
            other for route in self._routes if route_queue(route.name) == queue for other in self._lanes_of(route)
        ]
        return min(opens_at(one.spec.windows, now) for one in (lane, *others)) - now

    def _lanes_of(self, route: Route) -> list[Lane]:
        return [self.by_name[entry.target] for entry in route.entries if entry.target in self.by_name]

    @staticmethod
    def _serves(route: Route, target: str) -> bool:
        return any(entry.target == target for entry in route.entries)

    def _first_available(self, route: Route, now: float) -> Lane | None:
        """Busy is no reason to fail over; unavailable is, and throttled for longer than ``failover_after``. One call
        that found nobody is enough, while another target is not in doubt. Of targets that are all throttled, the one
        that resumes first. One whose time windows are closed is passed over while another one's are open.
        """
        doubtful: Lane | None = None
        throttled: list[Lane] = []
        lanes = self._lanes_of(route)
        for lane in [lane for lane in lanes if lane.is_open(now)] or lanes:
            if not lane.state.available(now):
                continue
            if lane.state.is_throttled_longer_than(self._failover_after_seconds, now):
                throttled.append(lane)
            elif not lane.state.is_doubtful(now):
                return lane
            else:
                doubtful = doubtful or lane
        return doubtful or min(throttled, key=lambda lane: lane.state.resume_at(now) or now, default=None)
