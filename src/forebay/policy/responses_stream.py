"""The text of a Response's stream: reading its events, writing them with numbers. Pure.

A durable stream begins with number 2. What comes before, and the end, are told from the job's row by whoever reads, so
that no stream says another thing of the response than the response itself.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

Json = dict[str, Any]

FIRST = 2  # after `response.created` and, in the background, `response.queued`
IN_PROGRESS = "response.in_progress"
CUT = "forebay.attempt_interrupted"  # an attempt ended in mid-stream; what it said is void, the next one begins anew
#: Told by the reader, from the job. Upstream's own are not kept.
LIFECYCLE = frozenset(
    f"response.{name}"
    for name in ("created", "queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
)
_BLANK = re.compile(r"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(r"\r\n|\n|\r")  # not str.splitlines: JSON may hold U+2028 as it is
_END_MARK = "[DONE]"
_DATA, _END = "\ndata: ", "\n\n"  # as `numbered` writes them


def events_in(text: str) -> Iterator[Json]:
    """The events of whole blocks of SSE. Raises: msgspec.DecodeError: data that is no object of JSON."""
    for block in _BLANK.split(text):
        lines = [line[5:].removeprefix(" ") for line in _LINE.split(block) if line.startswith("data:")]
        data = "\n".join(lines)
        if data and data != _END_MARK:
            yield msgspec.json.decode(data, type=Json)


class Told(msgspec.Struct, gc=False):
    """What a reader needs of a durable event."""

    sequence_number: int
    type: str


_TOLD = msgspec.json.Decoder(Told)


def told_in(text: str) -> Iterator[tuple[Told, str]]:
    """The durable events of a chunk, each as it is sent."""
    for block in text.split(_END)[:-1]:
        yield _TOLD.decode(block[block.index(_DATA) + len(_DATA) :]), block + _END


def numbered(event: Json, number: int) -> str:
    """The event as it stands in the stream."""
    data = msgspec.json.encode({**event, "sequence_number": number}).decode()
    return f"event: {event['type']}{_DATA}{data}{_END}"


def cut_event(named: str, attempt: int) -> Json:
    """Tells that an attempt was cut off, and that the answer begins anew."""
    message = "The call that this was streamed from was cut off; its output is void, and the answer begins again"
    return {"type": CUT, "response_id": named, "attempt": attempt, "code": "stream_interrupted", "message": message}
