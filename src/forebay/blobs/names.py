"""What a blob is called where it is kept: ``<last two characters of the id>/<id>``, in a folder as in a bucket."""

import re

from forebay.domain.errors import NotFound

FAN_OUT_CHARACTERS = 2
_ID = re.compile(r"[a-z]+_[0-9a-z]{26}")


def is_blob_id(text: str) -> bool:
    """Whether we could have made it."""
    return _ID.fullmatch(text) is not None


def place_of(blob_id: str) -> str:
    """The relative path of a blob. An id that we could not have made names none. Raises: NotFound."""
    if not is_blob_id(blob_id):
        raise NotFound(f"There is no blob {blob_id!r}")
    return f"{blob_id[-FAN_OUT_CHARACTERS:]}/{blob_id}"
