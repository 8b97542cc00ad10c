"""A job as a Response: its mark, its id, its state, and what of its request is told back."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from forebay.domain.infer_args import InferArgs, infer_args, with_args
from forebay.domain.job import ErrorCode, Job, JobError, Spec, Status
from forebay.domain.response import (
    ResponseArgs,
    State,
    encode_args,
    is_background_response,
    job_id_of,
    response_id,
    response_of,
    state_of,
)
from forebay.policy.responses_stream import cut_event, events_in, numbered, told_in
from forebay.policy.responses_view import blank, view_of

ARGS = st.builds(
    ResponseArgs, is_background=st.booleans(), is_stored=st.booleans(), previous_id=st.one_of(st.none(), st.text())
)


def job(status: Status = Status.QUEUED, args: str | None = None, **members: object) -> Job:
    made = Job(id="job_1", kind="infer", queue="q", created_at=5.5, deadline=9.0, status=status, spec=Spec(args=args))
    return msgspec.structs.replace(made, **members)


@settings(deadline=None)
@given(args=ARGS)
def test_the_mark_is_read_from_the_row(args: ResponseArgs) -> None:
    marked = job(args=encode_args(args))
    assert response_of(marked) == args
    assert is_background_response(marked) is args.is_background
    beside = with_args(marked.spec.args, InferArgs(schema={"type": "object"}))
    assert response_of(job(args=beside)) == args
    assert infer_args(beside).schema == {"type": "object"}


@pytest.mark.parametrize("args", [None, "{}", '{"schema":{"title":"response"}}', '{"schema":{"response":1}}'])
def test_other_jobs_have_no_mark(args: str | None) -> None:
    assert response_of(job(args=args)) is None


def test_a_line_of_a_batch_is_no_response() -> None:
    assert response_of(job(args=encode_args(ResponseArgs()), parent_id="job_2")) is None


def test_an_id_leads_back_to_its_job() -> None:
    assert response_id("job_1") == "resp_1"
    assert job_id_of("resp_1") == "job_1"
    assert (job_id_of("job_1"), job_id_of("")) == ("", "")


@pytest.mark.parametrize(
    ("status", "members", "said", "state"),
    [
        (Status.QUEUED, {}, None, State.QUEUED),
        (Status.QUEUED, {"started_at": 6.0}, None, State.IN_PROGRESS),
        (Status.RUNNING, {"started_at": 6.0}, None, State.IN_PROGRESS),
        (Status.SUCCEEDED, {}, "completed", State.COMPLETED),
        (Status.SUCCEEDED, {}, "incomplete", State.INCOMPLETE),
        (Status.SUCCEEDED, {}, None, State.COMPLETED),
        (Status.SUCCEEDED, {}, "queued", State.COMPLETED),
        (Status.FAILED, {}, None, State.FAILED),
        (Status.CANCELLED, {}, None, State.CANCELLED),
    ],
)
def test_a_job_stands_as_a_response_does(
    status: Status, members: dict[str, object], said: str | None, state: State
) -> None:
    assert state_of(job(status, **members), said) is state


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.FAILED, Status.CANCELLED])
def test_what_has_no_answer_is_a_response_in_the_vendors_own_type(status: Status) -> None:
    error = JobError(code=ErrorCode.EXPIRED, message="late") if status is Status.FAILED else None
    request = {
        "model": "m",
        "input": "x",
        "instructions": "i",
        "tools": [{"type": "function", "name": "f"}],
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
    }
    shown = view_of(job(status, encode_args(ResponseArgs(is_background=True)), error=error), request)
    told = Response.model_validate(shown)
    assert (told.id, told.status, told.created_at, told.background) == ("resp_1", state_of(job(status)), 5, True)
    assert (told.instructions, told.metadata) == ("i", {"a": "b"})
    assert (told.error is not None) is (status is Status.FAILED)


@pytest.mark.parametrize("told", [{}, None, {"other": "thing"}])
def test_metadata_is_what_was_asked_for_whatever_a_server_tells_back(told: object) -> None:
    answered = {"output": [], "status": "completed", "metadata": told}
    assert view_of(job(Status.SUCCEEDED), {"metadata": {"a": "b"}}, answered)["metadata"] == {"a": "b"}
    assert view_of(job(Status.SUCCEEDED), {}, answered)["metadata"] == (told or {})


def test_nothing_of_a_request_is_lost_in_its_echo() -> None:
    request = {"model": "m", "temperature": 0.5, "top_p": 0.1, "tool_choice": "none", "user": "u", "truncation": "auto"}
    shown = blank(request)
    assert {name: shown[name] for name in request} == request


@settings(deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=5), separator=st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read_again(texts: list[str], separator: str) -> None:
    events = [{"type": "response.output_text.delta", "delta": text} for text in texts] + [cut_event("resp_1", 1)]
    whole = "".join(numbered(event, number) for number, event in enumerate(events))
    expected = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    assert list(events_in(": comment\n\n" + whole.replace("\n", separator) + "data: [DONE]\n\n")) == expected
    told = list(told_in(whole))
    assert [(one.sequence_number, one.type) for one, _ in told] == [
        (number, event["type"]) for number, event in enumerate(events)
    ]
    assert "".join(text for _, text in told) == whole
