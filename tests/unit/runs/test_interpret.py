"""From the lines of a batch to what became of each record."""

from typing import Any

import msgspec
import pytest

from forebay.domain.attempt import Usage
from forebay.policy.requests import Shape
from forebay.policy.schema import compile_schema
from forebay.runs.backend import Fact, Piece
from forebay.runs.interpret import Interpreter
from forebay.runs.workbook import Outcome

CHAT = {"choices": [{"message": {"content": '{"n": 1}'}}], "usage": {"total_tokens": 3}}


def read(line: dict[str, Any], interpreter: Interpreter, fact: Fact | None = None) -> Outcome | None:
    piece = Piece(
        cursor=1, lines=[msgspec.json.encode({"custom_id": "k", **line})], facts={} if fact is None else {"k": fact}
    )
    return next(iter(interpreter.outcomes(piece)), None)


def payload(outcome: Outcome | None) -> Any:
    assert outcome is not None
    return msgspec.json.decode(outcome.payload)


def test_a_text_is_the_output_and_an_object_where_a_schema_was_given() -> None:
    answered = {"response": {"status_code": 200, "body": CHAT}, "error": None}
    plain = Interpreter(Shape.RECORD, None, is_full=False)
    assert payload(read(answered, plain)) == {"output": '{"n": 1}'}
    schema = compile_schema({"type": "object", "required": ["n"]})
    assert payload(read(answered, Interpreter(Shape.RECORD, schema, is_full=False))) == {"output": {"n": 1}}
    strict = compile_schema({"type": "object", "required": ["m"]})
    refused = read(answered, Interpreter(Shape.RECORD, strict, is_full=False))
    assert refused is not None
    assert not refused.is_success
    assert payload(refused)["error"]["code"] == "invalid_output"


def test_a_full_row_has_response_usage_cost_and_attempts() -> None:
    answered = {"response": {"status_code": 200, "body": CHAT}, "error": None}
    fact = Fact(attempts=2, usage=Usage(input_tokens=1, output_tokens=2), cost_usd=0.5)
    row = payload(read(answered, Interpreter(Shape.RECORD, None, is_full=True), fact))
    assert (row["response"], row["cost"], row["attempts"]) == (CHAT, 0.5, 2)
    assert row["usage"]["total_tokens"] == 3


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        ({"response": {"status_code": 422, "body": {"error": {"message": "no"}}}}, "target_rejected", 422),
        ({"response": {"status_code": 500, "body": "oh"}}, "target_unavailable", 500),
        ({"response": None, "error": {"code": "poison", "message": "x"}}, "poison", None),
        ({"response": {"status_code": 200, "body": {}}, "error": {"code": "invalid_output"}}, "invalid_output", 200),
        ({"response": None, "error": None}, "error", None),
    ],
)
def test_a_failure_has_a_code_and_a_sentence(line: dict[str, Any], code: str, status: int | None) -> None:
    outcome = read(line, Interpreter(Shape.RECORD, None, is_full=False))
    assert outcome is not None
    assert not outcome.is_success
    told = payload(outcome)
    assert (told["error"]["code"], told["status_code"]) == (code, status)
    assert told["error"]["message"]


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled", "budget_exceeded"])
def test_what_was_never_asked_is_no_failure_that_lasts(code: str) -> None:
    line = {"response": None, "error": {"code": code, "message": "x"}}
    interpreter = Interpreter(Shape.RECORD, None, is_full=False)
    assert read(line, interpreter) is None
    interpreter.keeps_undone = True
    assert read(line, interpreter) is not None
