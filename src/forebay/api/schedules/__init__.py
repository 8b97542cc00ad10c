"""Schedules: the triggers of the configured pipelines, when they fire, and whether they do."""
