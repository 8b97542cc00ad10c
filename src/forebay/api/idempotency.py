"""What makes a repeated request the same request: the client's own key, or an SDK that sends again by itself."""

import hashlib
import re

import msgspec
from starlette.requests import Request

from forebay.api.context import key_of
from forebay.domain.errors import Conflict, RequestError
from forebay.domain.passed import Passed
from forebay.domain.record import Record

LONGEST_KEY = 255
REPEAT_SECONDS = 15 * 60.0  # within which an SDK's own repeat joins the request before
REPLAYED = {"idempotent-replayed": "true"}
_REPEAT_HEADER = "x-stainless-retry-count"
_COUNT = re.compile(r"0*[1-9][0-9]*")


class Identity(Record, frozen=True, kw_only=True):
    """How a creating request is known again. All are '' where the client gave nothing to know it by."""

    key: str = ""  # `<path>:<the client's key>`: unique by tenant
    fingerprint: str = ""  # of the parsed body: another one under the same key is a conflict
    origin: str = ""  # of API key, path and body: what an SDK's repeat is found by
    is_repeat: bool = False  # the SDK says that it has sent this before


def identify(request: Request, body: bytes, *, body_key: str | None = None, passed: Passed | None = None) -> Identity:
    """Reads the request's identity; ``body_key`` is the body's ``idempotency_key``, which the header overrules.

    ``passed``: what goes upstream beside the body is a part of the request.

    Raises: RequestError: the key is empty or too long.
    """
    headers = request.headers
    path: str = request.scope["path"]
    presented = headers.get("idempotency-key", body_key)
    key = fingerprint = origin = ""
    if presented is not None:
        key = scoped_key(path, presented)
        fingerprint = fingerprint_of(body)
        if passed is not None:
            fingerprint = _digest(fingerprint.encode(), msgspec.json.encode(passed))
    repeats = headers.get(_REPEAT_HEADER)
    if repeats is not None:
        beside = () if passed is None else (msgspec.json.encode(passed),)
        origin = _digest(key_of(request).encode(), path.encode(), body, *beside)
    is_repeat = repeats is not None and _COUNT.fullmatch(repeats) is not None
    return Identity(key=key, fingerprint=fingerprint, origin=origin, is_repeat=is_repeat)


def scoped_key(path: str, presented: str) -> str:
    """The key as it is kept. Raises: RequestError."""
    if not 1 <= len(presented) <= LONGEST_KEY:
        message = f"An idempotency key has 1 to {LONGEST_KEY} characters, not {len(presented)}"
        raise RequestError(message, param="idempotency_key")
    if "\0" in presented:
        raise RequestError("An idempotency key has no NUL character", param="idempotency_key")
    return f"{path}:{presented}"


def fingerprint_of(body: bytes) -> str:
    """A hash of the JSON that the body says, whatever its spaces and order; of its bytes if it is none."""
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _digest(body)
    if isinstance(parsed, dict):
        parsed.pop("idempotency_key", None)
    return _digest(msgspec.json.encode(parsed, order="deterministic"))


def check_same(stored: str, asked: str) -> None:
    """Raises: Conflict: the key was used for another body."""
    if stored != asked:
        message = "This idempotency key was used for another request; use a new key for a new request"
        raise Conflict(message, param="idempotency_key", code="idempotency_conflict")


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
