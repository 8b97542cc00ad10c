"""Imports a user's function by its dotted name, in whichever process is to call it."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from forebay.targets.function_reply import Function


class FunctionMissing(Exception):
    """The function can't be imported; the message is the rest of a sentence that names it."""


def load_function(name: str) -> Function:
    """Imports ``module:name``; modules in the working directory are found. Raises: FunctionMissing."""
    module_name, path = _taken_apart(name)
    try:
        found: Any = import_module(module_name)
        for step in path.split("."):
            found = getattr(found, step)
    except AttributeError as exc:
        raise FunctionMissing(f"module {module_name!r} has no {path!r}") from exc
    except Exception as exc:
        raise FunctionMissing(f"{module_name!r} can't be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(found):
        raise FunctionMissing(f"{name!r} is not a function")
    function: Function = found
    return function


def find_module(name: str) -> None:
    """Looks for the module of ``module:name`` without importing it. Raises: FunctionMissing."""
    module_name, _ = _taken_apart(name)
    try:
        is_there = find_spec(module_name) is not None
    except (ImportError, ValueError, AttributeError):
        is_there = False
    if not is_there:
        raise FunctionMissing(f"{module_name!r} can't be imported: there is no such module")


def _taken_apart(name: str) -> tuple[str, str]:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise FunctionMissing(f"{name!r} is not of the form 'module:name'")
    if os.getcwd() not in sys.path:  # an installed command does not have it, other than `python -m`
        sys.path.insert(0, os.getcwd())
    return module_name, path
