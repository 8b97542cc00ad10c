"""Durations as people write them: ``90s``, ``15m``, ``24h``, ``7d``, ``1h30m``."""

import re

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
LONGEST_SECONDS = 100 * 365 * 86_400.0  # a century: what is longer is a slip
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PIECE.pattern})+", re.ASCII)


def duration_seconds(text: str) -> float | None:
    """Returns the seconds, None if the text is no duration or longer than a century."""
    stripped = text.strip()
    if not _WHOLE.fullmatch(stripped):
        return None
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in _PIECE.findall(stripped))
    return seconds if seconds <= LONGEST_SECONDS else None
