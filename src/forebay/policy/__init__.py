"""Decisions as pure functions: what an answer does, when to try again, which target, which order. No I/O, no clock."""
