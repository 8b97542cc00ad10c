"""``python -m forebay.testing.soak --seconds N --seed S``: chaos in rounds, each with a seed of its own, for as long as
you like; exit 1 if any of them lost anything. ``--seed`` of a failed round and ``--seconds 1`` repeat that round.
``--store postgresql``: on a private server, which is stopped, killed in part and cut off as well.
"""

import argparse
import asyncio
import dataclasses
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from forebay.testing.chaos import Chaos, Plan, Report
from forebay.testing.crashing import Backing
from forebay.testing.postgres import PostgresServer, postgres_server

MOST_SHOWN = 50
ROUND_SECONDS = 25.0
FAULTS = ("--latency-ms", "20", "--jitter", "0.5", "--fault", "0.02", "--retry-after", "0.2")
PAUSES = (0.2, 0.5, 1.0, 2.0)  # the longest between two acts; one of them is a round's


def main() -> int:
    """Runs rounds until the time is up, and prints what came of them."""
    parser = argparse.ArgumentParser(prog="python -m forebay.testing.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--store", type=Backing, choices=list(Backing), default=Backing.SQLITE)
    options = parser.parse_args()
    with postgres_server() if options.store is Backing.POSTGRESQL else nullcontext() as server:
        whole = soak(options.seconds, options.seed, server)
    return 1 if whole.violations else 0


def soak(seconds: float, first_seed: int, server: PostgresServer | None) -> Report:
    """Rounds until the time is up; all of them as one."""
    end = time.monotonic() + seconds
    reports: list[Report] = []
    while not reports or time.monotonic() < end:
        plan = make_plan(first_seed + len(reports))
        print(f"seed {plan.seed}: {plan}", flush=True)
        with tempfile.TemporaryDirectory(prefix="forebay-soak-") as folder:
            reports.append(asyncio.run(Chaos(plan, Path(folder), server).run()))
        show(reports[-1], f"seed {plan.seed}")
    whole = summed(reports)
    show(whole, f"all {len(reports)} rounds")
    return whole


def make_plan(seed: int) -> Plan:
    """The round of a seed: some are all kills, some have faults of the target too, some have many small processes."""
    chance = random.Random(seed)
    return Plan(
        seed=seed,
        seconds=ROUND_SECONDS,
        workers=chance.choice((1, 2, 3)),
        concurrency=chance.choice((4, 16, 64)),
        batch_lines=chance.choice((0, 300, 1500)) or 1,
        run_records=chance.choice((20, 100, 300)),
        longest_pause=chance.choice(PAUSES),
        armed=chance.choice((0.0, 0.5, 1.0)),
        mock=FAULTS if chance.random() < 0.5 else FAULTS[:4],
    )


def summed(reports: list[Report]) -> Report:
    """All of them as one."""
    whole = Report()
    for report in reports:
        for each in dataclasses.fields(Report):
            one, other = getattr(whole, each.name), getattr(report, each.name)
            setattr(whole, each.name, max(one, other) if each.name == "max_in_flight" else one + other)
    return whole


def show(report: Report, title: str) -> None:
    """Prints a report."""
    print(f"{title}: {report.kills.total()} signals and deaths at points, {_listed(report.kills)}")
    print(
        f"  {report.accepted} jobs accepted: {_listed(report.statuses)}; {report.runs} runs, {report.poisoned} poisoned"
    )
    print(f"  calls: {_listed(report.calls)}; at most {report.max_in_flight} at once; {report.readings} readings")
    for violation in report.violations[:MOST_SHOWN]:
        print(f"  WRONG: {violation}")
    print(f"{title}: {len(report.violations)} violations", flush=True)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{times} {what}" for what, times in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
