"""What a server can do wrong with one request, for ``FaultyServer``: statuses, lies about lengths, cuts, hangs, bombs.

Every function returns a Behaviour. A well-formed answer keeps its connection; anything else ends it.
"""

import asyncio
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from forebay.testing.faulty_server import Behaviour, Exchange

JSON = ("content-type: application/json",)
SSE = ("content-type: text/event-stream", "transfer-encoding: chunked")
PIECE_BYTES = 64 * 1024
SLOW_PAUSE_SECONDS = 0.01  # between the pieces of a slow server


def head(status: int = 200, lines: Iterable[str] = JSON) -> bytes:
    """The head of an answer, with the blank line at its end."""
    return "\r\n".join([f"HTTP/1.1 {status} Some Reason", *lines, "", ""]).encode()


def chunk(piece: bytes) -> bytes:
    """A piece of a body with ``transfer-encoding: chunked``; an empty one is the end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def whole(body: bytes, *, status: int = 200, lines: Sequence[str] = JSON) -> bytes:
    """A well-formed answer."""
    return head(status, [*lines, f"content-length: {len(body)}"]) + body


def answers(body: bytes, *, status: int = 200, lines: Sequence[str] = JSON) -> Behaviour:
    """Answers well-formed HTTP."""
    return sends(whole(body, status=status, lines=lines), is_kept=True)


def refuses(status: int, *lines: str, message: str = "The reason.") -> Behaviour:
    """Answers a status with the error envelope that OpenAI and Anthropic share."""
    body = msgspec.json.encode({"type": "error", "error": {"type": "some_error", "message": message}})
    return answers(body, status=status, lines=[*JSON, *lines])


def echoes() -> Behaviour:
    """Answers well, naming the job that asked: an answer that reached another job shows."""

    async def act(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        said = f"echo {request.job_id}"
        message = {"role": "assistant", "content": said}
        body = {
            "id": "answer_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": said}],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
        await exchange.send(whole(msgspec.json.encode(body)))

    return Behaviour(act, is_kept=True)


def sends(*pieces: bytes, is_kept: bool = False) -> Behaviour:
    """Sends exactly these bytes, and then closes the connection."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(*pieces)

    return Behaviour(act, is_kept=is_kept)


def hangs(*pieces: bytes) -> Behaviour:
    """Sends these bytes and then nothing more, until the client goes away."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        await exchange.until_gone()

    return Behaviour(act)


def resets(*pieces: bytes) -> Behaviour:
    """Sends these bytes and then ends the connection by RST."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        exchange.reset()

    return Behaviour(act)


def half_closes(*pieces: bytes) -> Behaviour:
    """Sends these bytes and FIN, and goes on reading until the client closes too."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        exchange.end_writing()
        await exchange.until_gone()

    return Behaviour(act)


def drips(start: bytes, piece: bytes) -> Behaviour:
    """Sends ``start``, and then the same piece again and again without an end, slowly."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(start)
        while True:
            await exchange.send(piece)
            await asyncio.sleep(SLOW_PAUSE_SECONDS)

    return Behaviour(act)


def floods(start: bytes, total_bytes: int, piece: bytes = b" " * PIECE_BYTES) -> Behaviour:
    """Sends ``start`` and then so many bytes, as fast as they are taken."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(start, *(piece for _ in range(total_bytes // len(piece))))

    return Behaviour(act)


def bombs(total_bytes: int) -> Behaviour:
    """Answers JSON of so many bytes, which is some thousandth of that on the wire."""
    body = b"".join(_squeezed(total_bytes))
    return answers(body, lines=[*JSON, "content-encoding: gzip"])


def zipped(body: bytes) -> Behaviour:
    """Answers compressed, although nobody asked for it."""
    return answers(gzip.compress(body), lines=[*JSON, "content-encoding: gzip"])


def accepts_and_reads_nothing() -> Behaviour:
    """Takes the connection and not a byte of the request."""

    async def act(exchange: Exchange) -> None:
        exchange.stop_reading()
        await asyncio.Event().wait()

    return Behaviour(act, is_deaf=True)


def closes_at_once() -> Behaviour:
    """Closes the connection as it is made."""

    async def act(exchange: Exchange) -> None:
        exchange.end_writing()

    return Behaviour(act, is_deaf=True)


def streams(*events: bytes, ends: bool = True) -> tuple[bytes, ...]:
    """The pieces of an event stream, to be sent by one of the above."""
    pieces = (head(200, SSE), *(chunk(event) for event in events))
    return (*pieces, chunk(b"")) if ends else pieces


def _squeezed(total_bytes: int) -> Iterator[bytes]:
    press = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    spaces = b" " * (1024 * 1024)
    yield press.compress(b'{"a":1')
    for _ in range(total_bytes // len(spaces)):
        yield press.compress(spaces)
    yield press.compress(b"}")
    yield press.flush()
