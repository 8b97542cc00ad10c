"""The source text of a function's module, found without importing it."""

from importlib.machinery import PathFinder
from pathlib import Path


def sources_of(function: str, paths: tuple[str, ...]) -> list[Path] | None:
    """The files of the module of ``module:name``: its own, and all of the package that it is in. None: not found."""
    names = function.partition(":")[0].split(".")
    searched: list[str] | None = list(paths)
    top: Path | None = None
    found = None
    for place in range(len(names)):
        found = PathFinder.find_spec(".".join(names[: place + 1]), searched)
        if found is None:
            return None
        searched = None if found.submodule_search_locations is None else list(found.submodule_search_locations)
        if place == 0 and searched:
            top = Path(searched[0])
    if top is not None:
        return sorted(top.rglob("*.py"))
    return [Path(found.origin)] if found is not None and found.origin and found.has_location else None
