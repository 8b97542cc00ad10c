"""``python -m forebay.testing.simulation --histories N --seed S``: exit 1 if any history went wrong.

``--seed S --trace`` runs one history again and prints all that happened in it.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from forebay.testing.simulation.history import Outcome, run_history

AT_ONCE = 20  # histories of one piece of work
SHOWN_EVERY = 1000
MOST_SHOWN = 10


def main() -> int:
    """Runs the histories of consecutive seeds."""
    parser = argparse.ArgumentParser(prog="python -m forebay.testing.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000_000))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print what happened, step by step")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    wrong = 0
    seeds = range(options.seed, options.seed + options.histories)
    for done, outcome in enumerate(_outcomes(seeds, options.processes), 1):
        if options.trace:
            print("\n".join(outcome.trace))
        if outcome.violations:
            wrong += 1
            print(report(outcome), flush=True)
        if done % SHOWN_EVERY == 0:
            print(f"{done} histories, {wrong} wrong", flush=True)
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {wrong} of {len(seeds)} histories went wrong")
    return 1 if wrong else 0


def report(outcome: Outcome) -> str:
    """What was wrong, and the command that shows how it came."""
    lines = [f"WRONG: {violation}" for violation in outcome.violations[:MOST_SHOWN]]
    lines.append(f"again: python -m forebay.testing.simulation --seed {outcome.plan.seed} --trace")
    return "\n".join(lines)


def _outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    if processes <= 1:
        yield from map(run_history, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_history, seeds, chunksize=AT_ONCE)


if __name__ == "__main__":
    sys.exit(main())
