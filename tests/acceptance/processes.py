"""Real processes for acceptance tests; they ship with the package, because the soak uses them too."""

from forebay.testing.processes import Running, start, start_worker, started, started_worker

__all__ = ["Running", "start", "start_worker", "started", "started_worker"]
