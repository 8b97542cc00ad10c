"""The main job in one line: a file through a model, resumable, every record paid for once."""

import sys
from types import ModuleType
from typing import Any

from forebay.run.table import PartialTable, run

__all__ = ["PartialTable", "run"]


class _Callable(ModuleType):
    """``forebay.run`` names this package and the function in it: whichever was imported first, it can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return run(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
