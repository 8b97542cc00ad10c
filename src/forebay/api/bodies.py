"""Reading request bodies: bounded, and with one sentence for whatever is wrong with them."""

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from forebay.api.context import api_of
from forebay.domain.errors import RequestError, TooLarge
from forebay.policy.json_text import why_not_json
from forebay.policy.nearest import nearest

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`(?: - at `\$\.?(.*)`)?")
_MISSING_FIELD = re.compile(r"missing required field `([^`]*)`(?: - at `\$\.?(.*)`)?")
_PLACE = re.compile(r" - at `(?:key )?(?:in )?\$?\.?([^`]*)`$")
_CLOSE_ENOUGH = 0.5


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Reads the whole body. Raises: TooLarge: before more than the limit is held; Overloaded."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    piece, is_whole = await _received(request)
    if len(piece) > limit_bytes:
        raise _too_large(limit_bytes)
    return piece if is_whole else await _gathered(piece, request, limit_bytes)


def decode(decoder: msgspec.json.Decoder[T], data: bytes, *, known: Sequence[str] = ()) -> T:
    """Parses JSON into the decoder's type. ``known``: the names among which an unknown one is looked for.

    Raises: RequestError with ``param`` where the place is known.
    """
    if not data.strip():
        raise RequestError("The body is empty; it must be a JSON object", code="invalid_json")
    try:
        data.decode()  # what is passed on unread must be UTF-8 as well
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        raise explained(exc, known) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestError(f"The body is {why_not_json(data, exc)}", code="invalid_json") from exc


def explained(error: msgspec.ValidationError, known: Sequence[str] = ()) -> RequestError:
    """What msgspec found wrong, as a refusal that names the parameter."""
    text = str(error)
    if unknown := _UNKNOWN_FIELD.search(text):
        return unknown_name(_path(unknown), () if unknown[2] else known)
    if missing := _MISSING_FIELD.search(text):
        message = f"The required field {_path(missing)!r} is missing"
        return RequestError(message, param=_path(missing), code="missing_required_parameter")
    place = _PLACE.search(text)
    param = place[1] if place and place[1] else None
    message = _PLACE.sub("", text)
    return RequestError(f"{param}: {message}" if param else message, param=param, code="invalid_value")


def _path(found: re.Match[str]) -> str:
    """The field with what it stands in: ``notify.webhook``."""
    return f"{found[2]}.{found[1]}" if found[2] else found[1]


def unknown_name(name: str, known: Sequence[str], kind: str = "field") -> RequestError:
    """A refusal of a name that we don't know, with the nearest that we do."""
    found = nearest(name, known, cutoff=_CLOSE_ENOUGH)
    hint = f"; did you mean {found!r}?" if found else f"; known: {', '.join(sorted(known))}" if known else ""
    return RequestError(f"Unknown {kind} {name!r}{hint}", param=name, code="unknown_parameter")


async def _gathered(piece: bytes, request: Request, limit_bytes: int) -> bytes:
    room, pieces, held = api_of(request).room, [piece], 0
    try:
        while True:
            room.take(len(piece))
            held += len(piece)
            piece, is_last = await _received(request)
            if held + len(piece) > limit_bytes:
                raise _too_large(limit_bytes)
            pieces.append(piece)
            if is_last:
                return b"".join(pieces)
    finally:
        room.give_back(held)


async def _received(request: Request) -> tuple[bytes, bool]:
    """The next piece, by hand: a generator of the framework's costs more than the body of a job."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), not message.get("more_body", False)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit_bytes} bytes (setting `max_body_bytes`)", code="request_too_large")
