"""Server-sent events: cutting a byte stream into whole events, and reading their data.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (parsing an event stream).
"""

import re
from collections.abc import AsyncIterator

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LONGEST_END = 4


async def whole_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields whole events verbatim, the blank line at their end included. A cut rest is not yielded."""
    rest = bytearray()
    async for chunk in chunks:
        searched = max(len(rest) - _LONGEST_END + 1, 0)  # a long event is searched once, not once per chunk
        rest += chunk
        ends = [end.end() for end in _END_OF_EVENT.finditer(rest, searched)]
        start = 0
        for end in ends:
            yield bytes(rest[start:end])
            start = end
        del rest[:start]


def event_data(event: bytes) -> bytes:
    """Returns the event's data, its lines joined; empty for a comment."""
    lines = [_value(line) for line in event.splitlines() if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(lines)


def _value(line: bytes) -> bytes:
    value = line[5:]
    return value[1:] if value.startswith(b" ") else value
