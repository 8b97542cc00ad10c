"""Triggers: what begins runs of pipelines: firings of the clock, files that appear, events."""
