"""The options of a ``python`` step."""

import re
from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.domain.step_function import Takes
from forebay.policy.steps.effects import only, text
from forebay.policy.steps.values import choice, column_types, whole

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class PythonOptions(Record, frozen=True, kw_only=True):
    """``per`` and ``batch_size``: None: as the function is marked. ``columns``: types of what it returns, where they
    are not to be told from the values.
    """

    function: str
    per: Takes | None = None
    batch_size: int | None = None
    columns: dict[str, str] = {}


def read_python(options: Mapping[str, Any]) -> PythonOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("function", "per", "batch_size", "columns"))
    function = text(options, "function")
    if not _FUNCTION.fullmatch(function):
        raise RequestError(f"must be of the form module:name, not {function!r}", param="function")
    return PythonOptions(
        function=function,
        per=choice(options, "per", Takes),
        batch_size=whole(options, "batch_size", least=1),
        columns=column_types(options),
    )
