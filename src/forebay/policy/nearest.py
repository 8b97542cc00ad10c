"""The nearest known name to a mistyped one, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches

CLOSE_ENOUGH = 0.6  # difflib's own
LONGEST = 200  # characters: likeness costs the square of the length


def nearest(name: str, known: Iterable[str], cutoff: float = CLOSE_ENOUGH) -> str | None:
    """Returns the known name that is most alike, None if none is as near as ``cutoff`` (0 to 1)."""
    if len(name) > LONGEST:
        return None
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """Returns a clause to append to a message: `; did you mean 'models'?`, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""
