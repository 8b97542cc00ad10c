"""How many failed records a step survives: ``tolerate_failures: 20``, or ``1%`` of what went in."""

import re
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import Counts, Tolerance

_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%", re.ASCII)
NONE = Tolerance(count=0)


def read_tolerance(value: Any) -> Tolerance:
    """Raises: RequestError: it is no number and no share."""
    if value is None:
        return NONE
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Tolerance(count=value)
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (share := float(found.group(1)) / 100) > 1:
        message = f"must be a number of records, or a share such as 1%, not {value!r}"
        raise RequestError(message, param="tolerate_failures")
    return Tolerance(share=share)


def is_tolerated(counts: Counts, tolerance: Tolerance) -> bool:
    """Whether a step with such counts has succeeded."""
    if tolerance.share is not None:
        return counts.failed <= tolerance.share * counts.entered
    return counts.failed <= (tolerance.count or 0)
