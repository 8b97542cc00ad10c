"""The main job in one line: a file through a model, resumable, every record paid for once."""

from forebay.runs.table import PartialTable, run

__all__ = ["PartialTable", "run"]
