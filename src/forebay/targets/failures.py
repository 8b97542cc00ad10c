"""Which answers are errors, and of which kind: the table of attempts of the reference, in one place.

Not counted: 429, 503 and Anthropic's 529. Counted: 408, 409, 425 and every other 5xx. Final: every other 4xx, and 3xx.
"""

import time
from collections.abc import Mapping

import msgspec

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetThrottled, TargetUnavailable
from forebay.policy.rate_headers import retry_after_seconds
from forebay.targets.http import Response

COUNTED_STATUSES = frozenset({408, 409, 425})
_UNKNOWN_THERE = frozenset({404, 410})
OVERLOADED = 529  # Anthropic's. Source: https://docs.anthropic.com/en/api/errors
REASON_CHARACTERS = 300
KEY_SHOWN = b"[key]"
#: One call an hour costs nothing, and a slip of the target's arithmetic must not close its lane for days.
LONGEST_WAIT_SECONDS = 3_600.0


class _Error(msgspec.Struct, gc=False):
    message: str | None = None


class _Envelope(msgspec.Struct, gc=False):
    """OpenAI's and Anthropic's error envelopes, as far as both agree."""

    error: _Error | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def check_status(response: Response, target: str, api_key: str | None = None) -> None:
    """Returns if the answer is a 2xx. Raises: the TargetError for its status, with the answer's body and headers.

    The message has the vendor's own reason, never other parts of the body, which may repeat the prompt. A key that the
    target repeats stands in neither.
    """
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        message = f"target {target!r} answered {status}, a redirect, which is not followed: correct its address"
    else:
        message = f"target {target!r} answered {status}{_reason(response.body, api_key)}"
    raise error_kind(status)(
        message,
        status_code=status,
        body=_without_key(response.body, api_key),
        retry_after=_asked_wait(response.headers),
        headers=response.headers,
    )


def _without_key(body: bytes, api_key: str | None) -> bytes:
    key = (api_key or "").encode()
    return body.replace(key, KEY_SHOWN) if key and key in body else body


def by_status(error: TargetError) -> TargetError:
    """Judges a call that broke in the body of its answer by the status, if that told of an error: the body of a refusal
    only explains it, and a 429 that was cut is a 429.
    """
    status = error.status_code
    if status is None or 200 <= status < 300:
        return error
    return error_kind(status)(error.message, status_code=status)


def is_lost(response: Response) -> bool:
    """Whether the API itself says that it does not know (any more) what it is asked for. A proxy's page in the place of
    a server that is being replaced says nothing of the work there.
    """
    if response.status not in _UNKNOWN_THERE:
        return False
    try:
        return _ENVELOPE.decode(response.body).error is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def is_gone(response: Response) -> bool:
    """Whether it is unknown there by whoever's word."""
    return response.status in _UNKNOWN_THERE


def error_kind(status: int) -> type[TargetError]:
    """Returns what a status other than 2xx means for the job."""
    if status == 429:
        return TargetThrottled
    if status in {503, OVERLOADED}:
        return TargetUnavailable
    if status in COUNTED_STATUSES or status >= 500 or status < 200:
        return TargetFailed
    return TargetRejected


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    seconds = retry_after_seconds(headers, time.time())
    return None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)


def _reason(body: bytes, api_key: str | None) -> str:
    try:
        error = _ENVELOPE.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if error is None or not error.message:
        return ""
    text = " ".join(error.message.split())
    if api_key:
        text = text.replace(api_key, "[key]")
    return f": {text[:REASON_CHARACTERS]}"
