"""The scalars that GraphQL itself has not: any JSON, and a time as all wires of ours take it."""

from typing import Any, NewType

import msgspec
import strawberry
from strawberry.types.scalar import ScalarDefinition

Json = NewType("Json", object)
Time = NewType("Time", object)


def _time(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("Give Unix seconds, RFC 3339 or a duration")
    return value


# A model's own JSON goes out as it came: `msgspec.Raw` is copied into the reply.
SCALARS: dict[object, ScalarDefinition] = {
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value: a model's request or answer, or metadata",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
    ),
    Time: strawberry.scalar(
        name="Time",
        description='Unix seconds, RFC 3339, or a duration such as "15m"; given back as Unix seconds',
        parse_value=_time,
    ),
}


def encoded(message: object) -> bytes:
    """A reply as JSON text."""
    return msgspec.json.encode(message)
