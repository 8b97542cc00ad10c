"""The nearest known name to a mistyped one, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 200  # characters: likeness costs the square of the length


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most alike, None if none is near."""
    if len(name) > LONGEST:
        return None
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """Returns a clause to append to a message: `; did you mean 'models'?`, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""
