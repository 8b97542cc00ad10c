"""Lines of a batch, as Anthropic's clients read them."""

import json
from typing import Any

import pytest
from anthropic.types.messages import MessageBatchIndividualResponse

from forebay.api.message_batches.results import result_line


def line(status: int | None = None, body: Any = None, code: str | None = None) -> bytes:
    response = None if status is None else {"status_code": status, "request_id": "req_1", "body": body}
    error = None if code is None else {"code": code, "message": "why"}
    return json.dumps({"id": "batch_req_1", "custom_id": "a", "response": response, "error": error}).encode()


def result(raw: bytes) -> Any:
    told = json.loads(result_line(raw))
    MessageBatchIndividualResponse.model_validate(told)
    assert told["custom_id"] == "a"
    return told["result"]


def test_an_answer_is_succeeded() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    assert result(line(200, message)) == {"type": "succeeded", "message": message}


@pytest.mark.parametrize(("code", "kind"), [("batch_cancelled", "canceled"), ("batch_expired", "expired")])
def test_what_the_end_overtook_says_so(code: str, kind: str) -> None:
    assert result(line(code=code)) == {"type": kind}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("model_not_found", "not_found_error"),
        ("endpoint_not_supported", "invalid_request_error"),
        ("target_unavailable", "overloaded_error"),
        ("target_timeout", "timeout_error"),
        ("budget_exceeded", "billing_error"),
        ("internal_error", "api_error"),
    ],
)
def test_what_no_model_answered_is_errored_by_its_cause(code: str, kind: str) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "why"}, "request_id": None}
    assert result(line(code=code)) == {"type": "errored", "error": error}


def test_a_vendors_own_error_stands_as_it_came() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "req_up"}
    assert result(line(529, body)) == {"type": "errored", "error": body}


@pytest.mark.parametrize("body", [{"error": {"type": "odd", "message": "no"}}, "plain words", None, [1]])
def test_any_other_refusal_is_told_in_anthropics_shape(body: Any) -> None:
    told = result(line(429, body))
    assert (told["type"], told["error"]["type"]) == ("errored", "error")
    assert told["error"]["error"]["type"] == "rate_limit_error"
    assert told["error"]["request_id"] == "req_1"
