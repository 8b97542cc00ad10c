"""What is compared of a record's data: its strings, as ``jsonb`` keeps them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.stores.postgres.transaction import scrub

_encode = msgspec.json.Encoder().encode


def labels(values: Mapping[str, Any]) -> str | None:
    """The strings among the values as ``jsonb``, to be compared; None if there are none."""
    strings = {scrub(name): scrub(value) for name, value in values.items() if isinstance(value, str)}
    return _encode(strings).decode() if strings else None
