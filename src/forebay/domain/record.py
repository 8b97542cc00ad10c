"""The base of every record: a frozen, keyword-only msgspec Struct, because most of them meet JSON at some edge."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A value: equal by its fields, never changed; make another with ``msgspec.structs.replace``.

    Subclasses repeat ``frozen=True, kw_only=True``: msgspec and the type checkers do not inherit them.
    """
