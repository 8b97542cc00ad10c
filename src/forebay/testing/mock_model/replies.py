"""The bytes of the mock model's replies: heads, errors in both vendors' envelopes, and chunks of a stream."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

JSON = "application/json"
STREAM_HEAD_TYPE = "text/event-stream; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_OPENAI_KINDS = {401: "invalid_request_error", 429: "rate_limit_error", 503: "service_unavailable_error"}
_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def whole(status: int, body: bytes, content_type: str, number: int, lines: Iterable[str] = ()) -> bytes:
    """An answer with its length. ``number`` makes its x-request-id; ``lines`` are further headers."""
    if status == 200 and not lines:
        return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-request-id: req_mock_%d\r\n\r\n%b" % (
            content_type.encode(),
            len(body),
            number,
            body,
        )
    further = "".join(f"{line}\r\n" for line in lines)
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nx-request-id: req_mock_{number}\r\n{further}\r\n"
    )
    return head.encode("latin-1") + body


def stream_head(number: int, lines: Iterable[str] = ()) -> bytes:
    further = "".join(f"{line}\r\n" for line in lines)
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: {STREAM_HEAD_TYPE}\r\ntransfer-encoding: chunked\r\n"
        f"cache-control: no-cache\r\nx-request-id: req_mock_{number}\r\n{further}\r\n"
    ).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_body(status: int, message: str, *, is_anthropic: bool, number: int) -> bytes:
    """The vendor's own envelope."""
    if is_anthropic:
        error = {"type": _ANTHROPIC_KINDS.get(status, "api_error"), "message": message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_mock_{number}"})
    kind = _OPENAI_KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = {401: "invalid_api_key", 429: "rate_limit_exceeded", 404: "not_found"}.get(status)
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})
