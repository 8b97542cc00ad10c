"""The work of each kind of step. Each runs in a thread, in a workplace; ``table`` has them all."""
