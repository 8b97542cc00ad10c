"""Drivers that load at their first use: a server, or a run over JSONL, needs neither their time nor memory."""

from functools import cache
from importlib import import_module
from types import ModuleType

_DRIVERS = {"duckdb": "duckdb"}


@cache
def driver(name: str) -> ModuleType:
    """Returns the module. Raises: KeyError: no such driver."""
    return import_module(_DRIVERS[name])
