"""What runs work: workers claim, the runner runs handlers, handlers answer with data, maintenance sweeps."""
