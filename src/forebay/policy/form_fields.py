"""How a JSON body stands as a multipart form, and which endpoints take files.

Names are OpenAI's: an array's parts are called ``name[]``, an object's ``name[member]``; null is left out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from forebay.domain.target import TargetType

#: Where a body value ``{"file_id": "file-…"}`` is a part of a form. Source: OpenAI's API reference (November 2026).
FILE_ENDPOINTS = frozenset(
    {
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/videos",
    }
)
FILE_TYPES = frozenset({TargetType.A2A})  # to these files go in whatever is sent
_FILE_ID = "file_id"
_OURS = "file-"


class FileRef(NamedTuple):
    """A file of ours that a body names."""

    file_id: str


def names_files(body: str) -> bool:
    """Whether it is worth looking for files in a body."""
    return f'"{_FILE_ID}"' in body


def fields_of(body: str | bytes) -> list[tuple[str, str | FileRef]]:
    """The parts of a body, by their names, in order. Raises: ValueError: it is no JSON."""
    decoded = msgspec.json.decode(body)
    members = decoded.items() if isinstance(decoded, dict) else ()
    return [part for name, value in members for part in _parts(name, value)]


def _parts(name: str, value: Any) -> Iterator[tuple[str, str | FileRef]]:
    match value:
        case None:
            return
        case {"file_id": str(file_id)} if len(value) == 1 and file_id.startswith(_OURS):
            yield name, FileRef(file_id)
        case dict():
            for member, inner in value.items():
                yield from _parts(f"{name}[{member}]", inner)
        case list():
            for inner in value:
                yield from _parts(name if name.endswith("[]") else f"{name}[]", inner)
        case str():
            yield name, value
        case _:
            yield name, msgspec.json.encode(value).decode()
