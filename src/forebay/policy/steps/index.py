"""The options of an ``index`` step: where embeddings go to be searched, and which columns they are."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.steps.effects import only, text
from forebay.policy.steps.places import database_url
from forebay.policy.steps.values import names, optional_text


class IndexOptions(Record, frozen=True, kw_only=True):
    """Either ``path``, a template, or ``url`` of a database. The others name columns; the index tells ``model``."""

    path: str | None = None
    url: str | None = None
    table: str | None = None
    id: str = "id"
    text: str | None = "text"
    vector: str = "output"
    metadata: tuple[str, ...] = ()
    model: str | None = None


def read_index(options: Mapping[str, Any]) -> IndexOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("path", "url", "table", "id", "text", "vector", "metadata", "model"))
    if ("path" in options) is ("url" in options):
        raise RequestError("or `url` says where the index is: one of the two", param="path")
    if "table" in options and "url" not in options:
        raise RequestError("goes with `url`, the address of a database", param="table")
    return IndexOptions(
        path=text(options, "path") if "path" in options else None,
        url=database_url(options) if "url" in options else None,
        table=optional_text(options, "table"),
        id=optional_text(options, "id") or "id",
        text=optional_text(options, "text") or "text",
        vector=optional_text(options, "vector") or "output",
        metadata=names(options, "metadata"),
        model=optional_text(options, "model"),
    )
