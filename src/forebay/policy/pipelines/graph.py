"""The order of steps: each after all that it needs."""

from collections.abc import Mapping, Sequence


def ordered(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, each after those that it needs, else as they stand; unknown ones are passed over. Raises: Cycle."""
    found: dict[str, None] = {}
    for name in needs:
        _visit(name, needs, found, [])
    return list(found)


class Cycle(Exception):
    """Steps that need each other. ``path``: round, from a name to itself."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(" → ".join(path))
        self.path = tuple(path)


def _visit(name: str, needs: Mapping[str, Sequence[str]], found: dict[str, None], path: list[str]) -> None:
    if name in found:
        return
    if name in path:
        raise Cycle([*path[path.index(name) :], name])
    for needed in needs.get(name, ()):
        if needed in needs:
            _visit(needed, needs, found, [*path, name])
    found[name] = None
