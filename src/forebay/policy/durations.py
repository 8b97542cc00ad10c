"""Durations as people write them: ``90s``, ``15m``, ``24h``, ``7d``, ``1h30m``."""

import re

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def duration_seconds(text: str) -> float | None:
    """Returns the seconds, None if the text is no duration."""
    stripped = text.strip()
    if not _WHOLE.fullmatch(stripped):
        return None
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in _PIECE.findall(stripped))
