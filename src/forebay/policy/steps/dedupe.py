"""The options of a ``dedupe`` step."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from forebay.domain.record import Record
from forebay.policy.steps.effects import only
from forebay.policy.steps.values import choice, names


class Keep(StrEnum):
    """Which of equal records stays."""

    FIRST = "first"
    LAST = "last"


class DedupeOptions(Record, frozen=True, kw_only=True):
    """``by``: the columns that make records equal; none: all of them."""

    by: tuple[str, ...] = ()
    keep: Keep = Keep.FIRST


def read_dedupe(options: Mapping[str, Any]) -> DedupeOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("by", "keep"))
    keep = choice(options, "keep", Keep, Keep.FIRST) or Keep.FIRST
    return DedupeOptions(by=names(options, "by"), keep=keep)
