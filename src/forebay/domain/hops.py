"""Hops: how many events, each made of what the one before set off, led to a piece of work. It bounds cycles of rules.

Told to targets in a header, and taken from one where events and jobs come in. Within a Python target the client passes
it on by itself.
"""

from contextvars import ContextVar

from forebay.domain.errors import RequestError

HOPS_HEADER = "forebay-hops"
HOPS: ContextVar[int] = ContextVar("forebay_hops", default=0)  # of the call that a Python target is in
MOST_DIGITS = 6


def read_hops(text: str | None) -> int:
    """Raises: RequestError: it is no number."""
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise RequestError(f"{HOPS_HEADER}: a whole number, not {text[:40]!r}", param=HOPS_HEADER)
    return int(text)
