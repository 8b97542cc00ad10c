"""A deterministic simulation of the engine: several worker processes over one store in memory, clients and targets, in
one thread and on one fake clock. A history (what is asked, what breaks, who runs when) is a function of its seed alone.

``python -m forebay.testing.simulation --histories 1000 --seed 1``; one that went wrong prints how to run it again.
"""

from forebay.testing.simulation.history import Outcome, run_history

__all__ = ["Outcome", "run_history"]
