"""``/v1/pipelines`` and ``/v1/runs``: what is configured, and the runs of it."""
