"""The options of a ``report`` step."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.steps.effects import only, text
from forebay.policy.steps.values import optional_text


class ReportOptions(Record, frozen=True, kw_only=True):
    """``template``: the path of a Jinja template, or else ``text``: the template itself. ``path``: where the report is
    written; without one it is the step's value.
    """

    template: str | None = None
    text: str | None = None
    path: str | None = None


def read_report(options: Mapping[str, Any]) -> ReportOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("template", "text", "path"))
    if ("template" in options) is ("text" in options):
        raise RequestError("names a file, or `text` is the template: one of the two", param="template")
    return ReportOptions(
        template=text(options, "template") if "template" in options else None,
        text=text(options, "text") if "text" in options else None,
        path=optional_text(options, "path"),
    )
