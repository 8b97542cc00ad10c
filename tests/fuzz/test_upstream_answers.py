"""What upstreams send: usage, events, rate headers, texts. Whatever it is, it is read or refused, never a surprise."""

import json
import operator
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.domain.attempt import Usage
from forebay.domain.errors import RequestError
from forebay.policy.output_text import Output, output_of, read_output
from forebay.policy.rate_headers import MAX_WAIT_SECONDS, rate_hints, retry_after_seconds
from forebay.policy.resolution import rewrite_model
from forebay.policy.schema import Schema, compile_schema
from forebay.policy.usage import MOST_TOKENS, estimate_request, read_metering
from forebay.targets.assembly import StreamError, assembly_for, raise_error_event
from forebay.targets.sse import event_data, whole_events
from forebay.targets.streaming import _UNREADABLE as UNREADABLE
from tests.fuzz.strategies import HUGE_NUMBERS, JSON_OBJECTS, JSON_VALUES, TEXTS, cut, damaged, fuzz, raw_json

NOW = 1_800_000_000.0
COUNTS = st.integers(0, 10**6) | st.integers() | HUGE_NUMBERS.map(lambda text: f"@{text}@") | JSON_VALUES
NAMES = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens")
ANSWERS = st.builds(
    lambda usage, rest: _raw({**rest, "usage": usage}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, COUNTS)) | JSON_VALUES,
    JSON_OBJECTS,
)
ENDPOINTS = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/v1/other"])


def _raw(value: Any) -> bytes:
    """JSON in which ``@…@`` stands for a number written so."""
    text = json.dumps(value)
    for start in ('"@', '@"'):
        text = text.replace(start, "")
    return text.encode()


def is_sound(count: int) -> bool:
    return 0 <= count <= 2**56


@fuzz(400)
@given(ANSWERS | damaged(ANSWERS) | raw_json().map(str.encode))
@example(b'{"usage": {"prompt_tokens": -5, "completion_tokens": 7}}')
@example(b'{"usage": {"prompt_tokens": 5, "completion_tokens": %s}}' % (b"9" * 30))
@example(b'{"usage": 5, "choices": [1e400]}')
def test_usage_is_read_in_numbers_that_every_store_holds_or_not_at_all(body: bytes) -> None:
    try:
        metering = read_metering(body)
    except msgspec.DecodeError:
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
            msgspec.json.decode(body)
        return
    if metering.usage is not None:
        usage: Usage = metering.usage
        counts = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
        assert all(map(is_sound, counts))
    assert is_sound(metering.cache_write_tokens)


@fuzz(200)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("max_tokens", "max_completion_tokens", "n"), COUNTS)).map(_raw)
    | st.binary(max_size=30)
)
@example(b'{"max_tokens": 9223372036854775807, "n": 9223372036854775807}')
def test_no_request_asks_for_more_tokens_than_there_are(body: bytes) -> None:
    estimate = estimate_request(body, "/v1/chat/completions")
    assert estimate.input_tokens >= 1
    assert 0 <= estimate.output_tokens <= MOST_TOKENS


async def pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


EVENTS = st.lists(
    st.sampled_from(
        [b"data: {}\n", b"data:x\r\n", b": comment\n", b"event: e\r", b"data", b"\n\n", b"\r\r", b"\r\n\r\n"]
    )
    | st.binary(max_size=6),
    max_size=12,
).map(b"".join)


@fuzz(300)
@given(st.data(), EVENTS)
async def test_events_are_whole_and_verbatim_however_the_network_cut_them(data: st.DataObject, stream: bytes) -> None:
    whole = [event async for event in whole_events(pieces([stream]))]
    assert stream.startswith(b"".join(whole))
    parts = data.draw(cut(stream))
    cut_events = [event async for event in whole_events(pieces(parts))]
    assert stream.startswith(b"".join(cut_events))
    # Where a chunk ends between CR and LF, the blank line may be told of one byte sooner: the data is the same.
    assert [event_data(event) for event in cut_events if event_data(event)] == [
        event_data(event) for event in whole if event_data(event)
    ]


DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message_start", "content_block_delta", "message_delta", "message_stop", "error"])
        | JSON_VALUES,
        "choices": st.lists(
            st.fixed_dictionaries(
                {}, optional={"index": st.integers(0, 2) | JSON_VALUES, "delta": JSON_OBJECTS | JSON_VALUES}
            )
            | JSON_VALUES,
            max_size=3,
        )
        | JSON_VALUES,
        "delta": JSON_OBJECTS | JSON_VALUES,
        "index": JSON_VALUES,
        "message": JSON_OBJECTS | JSON_VALUES,
        "content_block": JSON_OBJECTS | JSON_VALUES,
        "usage": JSON_OBJECTS | JSON_VALUES,
        "response": JSON_OBJECTS | JSON_VALUES,
        "error": JSON_OBJECTS | JSON_VALUES,
    },
)


@fuzz(400)
@given(ENDPOINTS, st.lists(DELTAS | JSON_VALUES, max_size=5))
@example("/v1/messages", [{"type": "message_delta", "delta": [[]]}])
def test_events_of_any_shape_add_up_or_are_told_to_be_unreadable(endpoint: str, events: list[Any]) -> None:
    assembly = assembly_for(endpoint)
    try:
        for event in events:
            raise_error_event(event)
            assembly.add(event)
        assembly.finish()
        body = assembly.body() if assembly.is_complete else b"{}"
    except (StreamError, *UNREADABLE):
        return
    json.loads(body)


HEADER_VALUES = (
    st.sampled_from(["20", "6m0s", "1e400", "-1", "9" * 400, "2027-01-01T00:00:00Z", "Sat, 21 Nov 2026 07:28:00 GMT"])
    | st.text(st.characters(max_codepoint=0xFF), max_size=20)
    | st.builds("{}{}".format, st.integers(0), st.sampled_from(["ms", "s", "h", "µs", " ", ""]))
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-reset-requests",
            "x-ratelimit-remaining-tokens",
            "anthropic-ratelimit-requests-reset",
            "anthropic-ratelimit-tokens-limit",
        ]
    ),
    HEADER_VALUES,
)


@fuzz(400)
@given(HEADERS)
@example({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2400"})
def test_a_wait_is_asked_for_within_bounds_or_not_at_all(headers: dict[str, str]) -> None:
    waits = [retry_after_seconds(headers, NOW)]
    hints = rate_hints(headers, NOW)
    waits += [hints.retry_after_seconds, hints.reset_requests_seconds, hints.reset_tokens_seconds]
    assert all(wait is None or 0 <= wait <= MAX_WAIT_SECONDS for wait in waits)
    remaining = (hints.remaining_tokens, hints.limit_tokens, hints.limit_requests)
    assert all(number is None or 0 <= number < float("inf") for number in remaining)


SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(JSON_OBJECTS | st.fixed_dictionaries({"message": JSON_VALUES}), max_size=2) | JSON_VALUES,
        "object": st.just("response") | JSON_VALUES,
        "output": st.lists(st.fixed_dictionaries({"type": st.just("message"), "content": JSON_VALUES})) | JSON_VALUES,
        "type": st.just("message") | JSON_VALUES,
        "content": JSON_VALUES,
        "data": st.lists(st.fixed_dictionaries({"embedding": JSON_VALUES})) | JSON_VALUES,
        "text": JSON_VALUES,
    },
)


@fuzz(300)
@given(SHAPES | JSON_VALUES)
def test_an_answer_of_any_shape_has_an_output(answer: Any) -> None:
    output = output_of(answer)
    assert isinstance(output, Output)
    assert output.refusal is None or isinstance(output.refusal, str)
    json.dumps(output.value)


@fuzz(200)
@given(raw_json().map(str.encode) | damaged(ANSWERS))
@example(b"[" * 100_000)
@example(b'{"choices": [1e400]}')
def test_whatever_a_body_is_it_is_read_or_kept_as_text(body: bytes) -> None:
    read_output(body)


@fuzz(150)
@given(raw_json() | TEXTS | st.builds("```json\n{}\n```".format, raw_json()))
@example("[" * 900 + "]" * 900)
@example("[" * 100_000)
@example("1e400")
@example('{"a": "\ud800"}')
def test_a_schema_takes_a_text_or_says_why_not(text: str) -> None:
    checked = compile_schema({"type": "object", "properties": {"a": {"type": "integer"}}}).check(text)
    assert checked.is_valid == (not checked.reasons)
    assert not checked.is_valid or isinstance(checked.value, dict)


def compiled(definition: Any) -> Schema | None:
    try:
        return compile_schema(definition)
    except RequestError:
        return None


@fuzz(150)
@given(JSON_VALUES)
@example({"$ref": "http://127.0.0.1:9/schema.json"})
@example({"pattern": "("})
@example({"type": "array", "items": {"$ref": "#"}})
def test_a_schema_compiles_or_is_refused_with_a_reason(definition: Any) -> None:
    for one in (definition, {"type": "object", "properties": {"a": definition}, "required": definition}):
        schema = compiled(one)
        assert schema is None or schema.check("{}").is_valid in {True, False}


@fuzz(100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["model", "mo\\u0064el", "x", "messages"]), raw_json()),
        max_size=4,
        unique_by=operator.itemgetter(0),
    ),
    TEXTS.filter(bool),
)
def test_rewriting_the_model_leaves_every_other_byte(members: list[tuple[str, str]], model: str) -> None:
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}"
    rewritten = rewrite_model(text, model).decode()
    loaded = json.loads(rewritten)
    before = json.loads(text)
    assert loaded.pop("model") == model
    before.pop("model", None)
    assert loaded == before
    for name, value in members:
        if name in {"x", "messages"}:
            assert value in rewritten
