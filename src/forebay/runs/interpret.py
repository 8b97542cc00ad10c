"""From a batch's output and error lines to what became of each record."""

from collections.abc import Iterator
from typing import Any

import msgspec

from forebay.domain.job import ErrorCode
from forebay.policy.output_text import decode_answer, output_of
from forebay.policy.requests import Shape
from forebay.policy.schema import Schema
from forebay.runs.backend import Fact, Piece
from forebay.runs.plan import failure
from forebay.runs.rows import OUTPUT
from forebay.runs.summary import usage_view
from forebay.runs.workbook import Outcome

FIRST_SUCCESS, FIRST_REDIRECT, FIRST_SERVER_ERROR = 200, 300, 500
PASSING = frozenset({408, 409, 425, 429})  # of the 4xx, those that were tried again
#: The line was not asked to its end: it is no failure of the record, and the next run asks it.
UNDONE = frozenset(
    {"batch_expired", "batch_cancelled", ErrorCode.EXPIRED, ErrorCode.CANCELLED, ErrorCode.BUDGET_EXCEEDED}
)


class _Response(msgspec.Struct, gc=False):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_LINE = msgspec.json.Decoder(_Line)


class Interpreter:
    """Reads lines for one run."""

    def __init__(self, shape: Shape, schema: Schema | None, *, is_full: bool) -> None:
        self.keeps_undone = False  # lines that were not asked to their end count as failures: of the run's own batch
        self._shape = shape
        self._schema = schema
        self._is_full = is_full

    def outcomes(self, piece: Piece) -> Iterator[Outcome]:
        """Returns what became of each line; lines that were not asked to their end are left out."""
        for text in piece.lines:
            line = _LINE.decode(text)
            outcome = self._outcome(line, text, piece.facts.get(line.custom_id))
            if outcome is not None:
                yield outcome

    def _outcome(self, line: _Line, text: bytes, fact: Fact | None) -> Outcome | None:
        response, error = line.response, line.error
        if error is not None and error.code in UNDONE and not self.keeps_undone:
            return None
        if error is None and response is not None and FIRST_SUCCESS <= response.status_code < FIRST_REDIRECT:
            return self._success(line.custom_id, response, fact, text)
        status = None if response is None else response.status_code
        code, message = _reason(response, error)
        attempts = fact.attempts if fact is not None else 0 if response is None else 1
        payload = failure(code, message, status, attempts)
        return Outcome(key=line.custom_id, is_success=False, payload=payload)

    def _success(self, key: str, response: _Response, fact: Fact | None, text: bytes) -> Outcome:
        if self._shape is Shape.OPENAI_LINE:
            return Outcome(key=key, is_success=True, payload=text)
        body = _decoded(response.body)
        output = output_of(body)
        value = output.value
        if self._schema is not None:
            checked = self._schema.check(value if isinstance(value, str) else None)
            if not checked.is_valid:
                reasons = "; ".join(checked.reasons)
                attempts = fact.attempts if fact is not None else 1
                payload = failure(ErrorCode.INVALID_OUTPUT, reasons, response.status_code, attempts)
                return Outcome(key=key, is_success=False, payload=payload)
            value = checked.value
        members: dict[str, Any] = {OUTPUT: value}
        if self._is_full:
            usage = _usage(body) if fact is None else usage_view(fact.usage)
            members |= {"response": response.body, "usage": usage}
            members |= {"cost": None, "attempts": None} if fact is None else _of_ledger(fact)
        return Outcome(key=key, is_success=True, payload=msgspec.json.encode(members))


def _reason(response: _Response | None, error: _Error | None) -> tuple[str, str]:
    if error is not None:
        return error.code or "error", error.message or "The request failed"
    if response is None:
        return "error", "The line has neither an answer nor an error"
    said = _decoded(response.body)
    inner = said.get("error") if isinstance(said, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else inner
    told = message if isinstance(message, str) else f"The target answered {response.status_code}"
    is_passing = response.status_code >= FIRST_SERVER_ERROR or response.status_code in PASSING
    return ErrorCode.TARGET_UNAVAILABLE if is_passing else ErrorCode.TARGET_REJECTED, told


def _decoded(body: msgspec.Raw) -> Any:
    """The answer; one that can't be followed is kept as the text that it is."""
    try:
        return decode_answer(bytes(body))
    except ValueError:
        return bytes(body).decode()


def _usage(body: Any) -> Any:
    return body.get("usage") if isinstance(body, dict) else None


def _of_ledger(fact: Fact) -> dict[str, Any]:
    return {"cost": fact.cost_usd, "attempts": fact.attempts}
