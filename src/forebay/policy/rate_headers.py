"""What an upstream's headers say of its rate limits, read into one record. Called by targets and engine limits.

Sources: RFC 9110 section 10.2.3 (Retry-After); platform.openai.com/docs/guides/rate-limits (x-ratelimit-*, November
2026); docs.anthropic.com/en/api/rate-limits (anthropic-ratelimit-*, RFC 3339 resets, November 2026).
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from forebay.domain.record import Record

MAX_WAIT_SECONDS = 7 * 86_400.0  # a longer wait is a fault of the upstream's clock or of its arithmetic

_UNIT_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_PREFIXES = ("retry-after", "x-ratelimit-", "anthropic-ratelimit-")


class RateHints(Record, frozen=True, kw_only=True):
    """What the upstream said; None where it said nothing that can be read."""

    limit_requests: float | None = None
    remaining_requests: float | None = None
    reset_requests_seconds: float | None = None  # from now until the remaining number is the limit again
    limit_tokens: float | None = None
    remaining_tokens: float | None = None
    reset_tokens_seconds: float | None = None
    retry_after_seconds: float | None = None


NO_HINTS = RateHints()


def rate_hints(headers: Mapping[str, str], now: float) -> RateHints:
    """Reads the hints of one answer. ``headers`` have lower-case names; ``now`` is Unix seconds.

    What can't be read counts as not said: an upstream's slip must not stop a lane.
    """
    if not any(name.startswith(_PREFIXES) for name in headers):
        return NO_HINTS
    return RateHints(
        limit_requests=_number(_either(headers, "limit-requests", "requests-limit")),
        remaining_requests=_number(_either(headers, "remaining-requests", "requests-remaining")),
        reset_requests_seconds=_wait(_either(headers, "reset-requests", "requests-reset"), now),
        limit_tokens=_number(_either(headers, "limit-tokens", "tokens-limit")),
        remaining_tokens=_number(_either(headers, "remaining-tokens", "tokens-remaining")),
        reset_tokens_seconds=_wait(_either(headers, "reset-tokens", "tokens-reset"), now),
        retry_after_seconds=retry_after_seconds(headers, now),
    )


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Returns how long the upstream asks us to wait: ``retry-after-ms`` first (it is finer), else ``retry-after``."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_WAIT_SECONDS)
    return _wait(headers.get("retry-after"), now)


def _either(headers: Mapping[str, str], ours: str, anthropics: str) -> str | None:
    value = headers.get("x-ratelimit-" + ours)
    return value if value is not None else headers.get("anthropic-ratelimit-" + anthropics)


def _number(text: str | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _wait(text: str | None, now: float) -> float | None:
    """Reads seconds (``20``), a duration (``6m0s``), an RFC 3339 time or an HTTP date as seconds from now."""
    if text is None:
        return None
    text = text.strip()
    seconds = _number(text)
    if seconds is None:
        seconds = _duration(text)
    if seconds is None:
        moment = _moment(text)
        seconds = None if moment is None else moment - now
    return None if seconds is None else min(max(seconds, 0.0), MAX_WAIT_SECONDS)


def _duration(text: str) -> float | None:
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def _moment(text: str) -> float | None:
    if not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text) if "-" in text[:5] else parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
