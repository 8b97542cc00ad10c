"""From a batch's output and error lines to what became of each record."""

from collections.abc import Iterator
from typing import Any

import msgspec

from forebay.domain.job import ErrorCode
from forebay.policy.batch_output import UNDONE, Line, Response, decoded_body, read_line, reason_of
from forebay.policy.output_text import output_of
from forebay.policy.requests import Shape
from forebay.policy.schema import Schema
from forebay.runs.backend import Fact, Piece
from forebay.runs.plan import failure
from forebay.runs.rows import OUTPUT
from forebay.runs.summary import usage_view
from forebay.runs.workbook import Outcome


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
            line = read_line(text)
            outcome = self._outcome(line, text, piece.facts.get(line.custom_id))
            if outcome is not None:
                yield outcome

    def _outcome(self, line: Line, text: bytes, fact: Fact | None) -> Outcome | None:
        response, error = line.response, line.error
        if error is not None and error.code in UNDONE and not self.keeps_undone:
            return None
        if line.is_success and response is not None:
            return self._success(line.custom_id, response, fact, text)
        status = None if response is None else response.status_code
        code, message = reason_of(line)
        attempts = fact.attempts if fact is not None else 0 if response is None else 1
        payload = failure(code, message, status, attempts)
        return Outcome(key=line.custom_id, is_success=False, payload=payload)

    def _success(self, key: str, response: Response, fact: Fact | None, text: bytes) -> Outcome:
        if self._shape is Shape.OPENAI_LINE:
            return Outcome(key=key, is_success=True, payload=text)
        body = decoded_body(response.body)
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


def _usage(body: Any) -> Any:
    return body.get("usage") if isinstance(body, dict) else None


def _of_ledger(fact: Fact) -> dict[str, Any]:
    return {"cost": fact.cost_usd, "attempts": fact.attempts}
