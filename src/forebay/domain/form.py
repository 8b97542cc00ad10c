"""A call's body as a multipart form: fields, and files that are read as they are sent."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

Pieces = Callable[[], AsyncIterator[bytes]]  # each call begins anew: a call may be sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a form."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file of a form."""

    name: str
    filename: str
    content_type: str
    bytes: int
    pieces: Pieces


Form = tuple[Field | FilePart, ...]
