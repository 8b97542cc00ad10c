"""Rows: an input's record with what was added to it, as JSON members whose values are passed through unread."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

OUTPUT = "output"
FULL = ("response", "usage", "cost", "attempts")
PREFIX = "input_"

Members = dict[str, msgspec.Raw]

_MEMBERS = msgspec.json.Decoder(Members)
_TEXT = msgspec.json.Decoder(str)


class Shape(StrEnum):
    """What a row of the output is."""

    RECORD = "record"  # the input's fields and `output`
    OPENAI_LINE = "openai_line"  # OpenAI's output line, because the input had OpenAI's lines


def members_of(text: bytes) -> Members:
    """Splits an object into its members."""
    return _MEMBERS.decode(text)


def encode(members: Mapping[str, object]) -> bytes:
    """Joins members to an object."""
    return msgspec.json.encode(members)


def joined(record: bytes, payload: bytes, shape: Shape) -> Members:
    """Returns the row of the output. Input fields whose names are taken are kept under ``input_<name>``."""
    added = members_of(payload)
    fields = members_of(record)
    if shape is Shape.OPENAI_LINE:
        return {**added, "custom_id": fields["custom_id"]}
    kept = {renamed(name, added, fields): value for name, value in fields.items()}
    return {**kept, **added}


def renamed(name: str, added: Mapping[str, object], fields: Mapping[str, object]) -> str:
    """The name under which an input field stands in the output."""
    if name not in added:
        return name
    name = PREFIX + name
    while name in added or name in fields:
        name = PREFIX + name
    return name


def cell(value: msgspec.Raw | None) -> str:
    """A value as text for CSV: text as it is, null as nothing, all else as JSON."""
    if value is None:
        return ""
    text = bytes(value)
    if text.startswith(b'"'):
        return _TEXT.decode(text)
    return "" if text == b"null" else text.decode()
