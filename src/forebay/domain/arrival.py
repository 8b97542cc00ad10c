"""Arrival: a file that lies where a trigger looks for files."""

from forebay.domain.record import Record


class Arrival(Record, frozen=True, kw_only=True):
    """``path``: as the trigger's pattern would name it, relative where that is; ``place``: the whole path, or address;
    ``version``: what changes with its content: a time of change, or a tag. ``is_whole``: its place shows no half of
    one; others are whole when they have not changed for a while.
    """

    path: str
    place: str
    bytes: int
    version: str
    is_whole: bool = False
