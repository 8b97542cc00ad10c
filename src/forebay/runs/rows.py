"""Rows: an input's record with what was added to it, as JSON members whose values are passed through unread."""

from collections.abc import Mapping, Sequence

import msgspec

from forebay.policy.requests import Shape, kept_names

OUTPUT = "output"
FULL = ("response", "usage", "cost", "attempts")
OPENAI_COLUMNS = ("id", "custom_id", "response", "error")

Members = dict[str, msgspec.Raw]

_MEMBERS = msgspec.json.Decoder(Members)
_TEXT = msgspec.json.Decoder(str)


def members_of(text: bytes) -> Members:
    """Splits an object into its members."""
    return _MEMBERS.decode(text)


def encode(members: Mapping[str, object]) -> bytes:
    """Joins members to an object."""
    return msgspec.json.encode(members)


class Joiner:
    """Joins records with what was added to them. ``columns`` are the names that its rows have, in order.

    Input fields whose names are taken are kept as ``input_<name>``, the same in every row.
    """

    def __init__(self, shape: Shape, columns: Sequence[str], *, is_full: bool = False) -> None:
        self._shape = shape
        added = (OUTPUT, *FULL) if is_full else (OUTPUT,)
        self._names = kept_names(columns, added)
        kept = [self._names.get(name, name) for name in columns]
        self.columns = OPENAI_COLUMNS if shape is Shape.OPENAI_LINE else (*kept, *added)

    def row(self, record: bytes, payload: bytes) -> Members:
        """Returns the row of the output."""
        fields, added = members_of(record), members_of(payload)
        if self._shape is Shape.OPENAI_LINE:
            return {**added, "custom_id": fields["custom_id"]}
        names = self._names
        return {**{names.get(name, name): value for name, value in fields.items()}, **added}


def cell(value: msgspec.Raw | None) -> str:
    """A value as text for CSV: text as it is, null as nothing, all else as JSON."""
    if value is None:
        return ""
    text = bytes(value)
    if text.startswith(b'"'):
        return _TEXT.decode(text)
    return "" if text == b"null" else text.decode()
