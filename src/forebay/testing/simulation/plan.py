"""What one history is made of, drawn from its seed."""

import random
from dataclasses import dataclass


def chance_of(seed: int, name: str) -> random.Random:
    """A generator for one subject of one history: what one subject draws moves no other's."""
    return random.Random(f"{seed}:{name}")  # of a text: seeded by its SHA-512, the same in every process


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much work there is and how much goes wrong. Rates are probabilities; times are simulated."""

    seed: int
    workers: int
    machines: int  # on one, a dead process is noticed at once; on another, by its heartbeat
    lease_seconds: float
    chaos_seconds: float
    jobs: int
    batches: int
    poison: float  # of a request: it kills the worker that sends it
    trouble_seconds: float | None  # between two of the world's blows; None: there are none
    crash_rate: float  # of a commit of a worker, before it and after it
    fault_rate: float  # of a commit: the store does not take it
    doubt_rate: float  # of a commit: it is done, and the reply to it is lost
    slow_rate: float  # of anything: it takes a second and not a millisecond
    target_fault_rate: float
    concurrency: int | None  # what target `a` is known to allow
    requests_per_minute: float | None  # of target `b`
    peace_seconds: float = 600.0  # for everything to end once nothing breaks any more


def plan_of(seed: int) -> Plan:
    """A calm history (targets fail, and nothing else does) in one of five."""
    chance = chance_of(seed, "plan")
    is_calm = chance.random() < 0.2
    return Plan(
        seed=seed,
        workers=chance.randint(1, 3),
        machines=chance.choice((1, 1, 2)),
        lease_seconds=chance.choice((2.0, 4.0, 8.0)),
        chaos_seconds=chance.uniform(4.0, 16.0),
        jobs=chance.randint(8, 30),
        batches=chance.choice((0, 1, 1, 2)),
        poison=0.0 if is_calm else chance.choice((0.0, 0.0, 0.03, 0.08)),
        trouble_seconds=None if is_calm else chance.choice((0.7, 1.5, 4.0)),
        crash_rate=0.0 if is_calm else chance.choice((0.0, 0.002, 0.01)),
        fault_rate=0.0 if is_calm else chance.choice((0.0, 0.01, 0.05)),
        doubt_rate=0.0 if is_calm else chance_of(seed, "doubt").choice((0.0, 0.01, 0.05)),
        slow_rate=0.0 if is_calm else chance.choice((0.0, 0.002, 0.01)),
        target_fault_rate=chance.choice((0.0, 0.1, 0.3, 0.6)),
        concurrency=chance.choice((None, 2, 5)),
        requests_per_minute=chance.choice((None, None, 600.0)),
    )
