"""What an adapter is, and how it refuses a request."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from starlette.requests import Request

LONGEST_JSON_BYTES = 64 * 1024**2
JSON = "application/json"

Asked = TypeVar("Asked")
Piece = TypeVar("Piece")


class Answer(NamedTuple):
    """The body of a 200."""

    body: bytes
    media_type: str = JSON


IsWanted = Callable[[], bool]  # whether anybody still waits for the answer
Work = Callable[[IsWanted], Answer]


class Refused(Exception):
    """The request is wrong, and sending it again does not help."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


class Abandoned(Exception):
    """Nobody waits for the answer any more, so the work was broken off between two of its pieces."""


def while_wanted(pieces: Iterable[Piece], is_wanted: IsWanted) -> Iterator[Piece]:
    """Gives one piece of work after the other. Raises: Abandoned."""
    for piece in pieces:
        if not is_wanted():
            raise Abandoned
        yield piece


class Adapter(Protocol):
    """One engine with its model loaded."""

    endpoint: str

    async def read(self, request: Request) -> Work:
        """Parses a request into what is to be computed, which runs in the one thread that computes; where it takes long
        it asks between its pieces whether it is still wanted.

        Raises: Refused; so may the work itself (an image is unpacked there).
        """
        ...


async def read_json(request: Request, kind: type[Asked]) -> Asked:
    """Reads a body of bounded size. Raises: Refused."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_JSON_BYTES:
            message = f"the body is longer than {LONGEST_JSON_BYTES:,} bytes"
            raise Refused(message, code="too_large", status=413)
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body can't be read: {error}") from error
