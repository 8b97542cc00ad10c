"""Pages: what every list of ours is answered as, and the cursors by which it goes on."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from starlette.responses import Response

from forebay.api.errors import JSON
from forebay.domain.errors import RequestError

ID = re.compile(r"[a-z_]+[_-][0-9a-z]{26}")

View = TypeVar("View")
Some = TypeVar("Some", bound="Page[Any] | Span[Any]")


class Span(msgspec.Struct, Generic[View], kw_only=True):
    """Some of a list. ``first_id`` and ``last_id``: its ends, by which what follows is asked for."""

    named_by: ClassVar[str] = "id"  # which member of a view names it

    data: list[View]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Page(msgspec.Struct, Generic[View], kw_only=True):
    """The same as OpenAI writes it, and we do. (Its own struct: the members of a base would come first.)"""

    named_by: ClassVar[str] = "id"

    object: Literal["list"] = "list"
    data: list[View]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page_of(kind: type[Some], shown: Sequence[Any], *, has_more: bool) -> Some:
    """The page that shows these, in their order."""
    return kind(
        data=list(shown),
        has_more=has_more,
        first_id=getattr(shown[0], kind.named_by) if shown else None,
        last_id=getattr(shown[-1], kind.named_by) if shown else None,
    )


def page_response(kind: type[Page[Any]] | type[Span[Any]], shown: Sequence[Any], *, has_more: bool) -> Response:
    """The reply with such a page."""
    return Response(msgspec.json.encode(page_of(kind, shown, has_more=has_more)), media_type=JSON)


def read_cursor(text: str | None, prefix: str, *, param: str = "after") -> str | None:
    """The id after which a list goes on; any id of that kind will do, whether there is such a thing or not.

    Raises: RequestError: it is no such id. Compared as a text it would be somewhere in the list, or before all of it.
    """
    if text is not None and not (ID.fullmatch(text) and text.startswith(prefix)):
        raise RequestError(f"{param}: {text!r} is no id of this list ({prefix}…)", param=param)
    return text
