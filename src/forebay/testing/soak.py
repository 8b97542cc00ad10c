"""``python -m forebay.testing.soak --seconds N --seed S``: chaos for as long as you like; exit 1 if it lost any."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from forebay.testing.chaos import Chaos, Plan, Report

MOST_SHOWN = 50
FAULTS = ("--fault", "0.02", "--retry-after", "0.2")


def main() -> int:
    """Runs one plan and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m forebay.testing.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-lines", type=int, default=5000)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    plan = Plan(seed=options.seed, seconds=options.seconds, workers=options.workers, batch_lines=options.batch_lines)
    with tempfile.TemporaryDirectory(prefix="forebay-soak-") as folder:
        report = asyncio.run(Chaos(plan, Path(folder), lambda event: print(event, flush=True)).run())
    return _show(report, options.seed)


def _show(report: Report, seed: int) -> int:
    print(f"{report.accepted} jobs accepted, {report.calls} calls, at most {report.max_in_flight} at once")
    print("attempts: " + ", ".join(f"{times} {outcome}" for outcome, times in sorted(report.outcomes.items())))
    for violation in report.violations[:MOST_SHOWN]:
        print(f"WRONG: {violation}")
    print(f"seed {seed}: {len(report.violations)} violations after {len(report.events)} events")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
