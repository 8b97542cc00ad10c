"""Lines of a batch's output and error files, read back: what became of each request. Called by `forebay run` and by
the inference steps of pipelines.
"""

import re
from typing import Any

import msgspec

from forebay.domain.job import ErrorCode
from forebay.policy.output_text import decode_answer

FIRST_SUCCESS, FIRST_REDIRECT, FIRST_SERVER_ERROR = 200, 300, 500
PASSING = frozenset({408, 409, 425, 429})  # of the 4xx, those that were tried again
#: The line was not asked to its end: it is no failure of the record, and the next run asks it.
UNDONE = frozenset(
    {"batch_expired", "batch_cancelled", ErrorCode.EXPIRED, ErrorCode.CANCELLED, ErrorCode.BUDGET_EXCEEDED}
)


class Response(msgspec.Struct, gc=False):
    status_code: int | None  # None: of a fan-out
    body: msgspec.Raw = msgspec.Raw(b"null")


class LineError(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None


class Line(msgspec.Struct, gc=False):
    """One line. A good answer has a response and no error."""

    custom_id: str
    response: Response | None = None
    error: LineError | None = None

    @property
    def is_success(self) -> bool:
        if self.error is not None or self.response is None:
            return False
        status = self.response.status_code
        return status is None or FIRST_SUCCESS <= status < FIRST_REDIRECT


_LINE = msgspec.json.Decoder(Line)
#: Every escape of JSON; group 1: half of a surrogate pair without the other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def read_line(text: bytes) -> Line:
    """Reads a line that a batch wrote. Halves of surrogate pairs, as some models escape them, become U+FFFD: no text
    can hold them.
    """
    try:
        return _LINE.decode(text)
    except msgspec.DecodeError:
        return _LINE.decode(_ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], text))


def reason_of(line: Line) -> tuple[str, str]:
    """Code and message of a line that is no success."""
    response, error = line.response, line.error
    if error is not None:
        return error.code or "error", error.message or "The request failed"
    if response is None:
        return "error", "The line has neither an answer nor an error"
    said = decoded_body(response.body)
    inner = said.get("error") if isinstance(said, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else inner
    told = message if isinstance(message, str) else f"The target answered {response.status_code}"
    status = response.status_code or 0
    is_passing = status >= FIRST_SERVER_ERROR or status in PASSING
    return ErrorCode.TARGET_UNAVAILABLE if is_passing else ErrorCode.TARGET_REJECTED, told


def decoded_body(body: msgspec.Raw) -> Any:
    """The answer; one that can't be followed is kept as the text that it is."""
    try:
        return decode_answer(bytes(body))
    except ValueError:
        return bytes(body).decode()
