"""The options of a ``sql`` step."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.record import Record
from forebay.policy.steps.effects import only, text

SCOPES = ("run", "params")  # what a query names as `$run.date`, `$params.least`


class SqlOptions(Record, frozen=True, kw_only=True):
    """One SELECT over the inputs by their names."""

    query: str


def read_sql(options: Mapping[str, Any]) -> SqlOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("query",))
    return SqlOptions(query=text(options, "query"))
