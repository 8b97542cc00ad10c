"""Streams through the targets: events arrive whole and verbatim, their sum is the answer, a cut is a failed attempt."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from forebay.domain.attempt import Usage
from forebay.domain.errors import TargetError, TargetFailed, TargetThrottled, TargetTimeout, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec, TargetType
from forebay.ports import Target
from forebay.targets.build import build_target
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient
from forebay.testing.mock_model import MockModel, MockOptions

from .raw_servers import raw_server, request_of

CHAT = "/v1/chat/completions"


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def write(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as running:
        yield running


@pytest.fixture(params=HttpLibrary)
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    client = open_http(request.param)
    yield client
    await client.close()


def target_of(mock: MockModel, http: HttpClient, kind: TargetType = TargetType.OPENAI) -> Target:
    return build_target(TargetSpec(name="t", type=kind, base_url=mock.base_url), http)


def body_of(text: str, endpoint: str = CHAT, *, stream: bool = True, **members: object) -> bytes:
    asked: dict[str, object] = {"model": "m", "stream": stream, **members}
    if endpoint == "/v1/responses":
        asked["input"] = text
    elif endpoint == "/v1/completions":
        asked["prompt"] = text
    else:
        asked |= {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
    return msgspec.json.encode(asked)


def call_of(body: bytes, endpoint: str = CHAT, *, is_stream: bool = True, timeout_seconds: float = 60) -> Call:
    return Call(
        job_id="j", attempt=1, endpoint=endpoint, body=body, timeout_seconds=timeout_seconds, is_stream=is_stream
    )


async def streamed(target: Target, text: str, endpoint: str = CHAT) -> tuple[InferenceResult, list[str]]:
    sink = Sink()
    result = await target.call(call_of(body_of(text, endpoint), endpoint), sink)
    return result, sink.texts


@pytest.mark.parametrize("endpoint", [CHAT, "/v1/completions", "/v1/responses"])
async def test_the_sum_of_a_stream_says_what_the_whole_answer_says(
    mock: MockModel, http: HttpClient, endpoint: str
) -> None:
    target = target_of(mock, http)
    result, texts = await streamed(target, "one two three", endpoint)
    whole = await target.call(call_of(body_of("one two three", endpoint, stream=False), endpoint, is_stream=False))
    assert text_in(result) == text_in(whole) == "echo: one two three"
    assert all(text.endswith("\n\n") for text in texts)
    assert len(texts) > 4


async def test_a_messages_stream_adds_up_to_the_message(mock: MockModel, http: HttpClient) -> None:
    result, texts = await streamed(target_of(mock, http, TargetType.ANTHROPIC), "one two", "/v1/messages")
    message = msgspec.json.decode(result.body)
    assert message["content"] == [{"type": "text", "text": "echo: one two"}]
    assert message["stop_reason"] == "end_turn"
    assert result.usage == Usage(input_tokens=message["usage"]["input_tokens"], output_tokens=4)
    assert texts[0].startswith("event: message_start\ndata: ")


async def test_usage_is_read_where_the_stream_was_asked_for_it(mock: MockModel, http: HttpClient) -> None:
    body = body_of("hello", stream_options={"include_usage": True})
    result = await target_of(mock, http).call(call_of(body), Sink())
    assert result.usage is not None
    assert result.usage.output_tokens == 3


async def test_without_that_the_usage_is_unknown(mock: MockModel, http: HttpClient) -> None:
    result, _ = await streamed(target_of(mock, http), "hello")
    assert result.usage is None
    assert result.cost_usd is None


@pytest.mark.parametrize("fault", ["reset-body", "close-body", "truncate", "invalid"])
@pytest.mark.parametrize("endpoint", [CHAT, "/v1/responses", "/v1/messages"])
async def test_a_cut_after_the_first_byte_is_a_failed_attempt(
    mock: MockModel, http: HttpClient, endpoint: str, fault: str
) -> None:
    kind = TargetType.ANTHROPIC if endpoint == "/v1/messages" else TargetType.OPENAI
    with pytest.raises(TargetFailed):
        await streamed(target_of(mock, http, kind), f"a b c d [[fault:{fault}]]", endpoint)


async def test_an_error_before_the_stream_keeps_its_meaning(mock: MockModel, http: HttpClient) -> None:
    sink = Sink()
    with pytest.raises(TargetThrottled) as caught:
        await target_of(mock, http).call(call_of(body_of("[[fault:429]]")), sink)
    assert caught.value.retry_after == 1.0
    assert not sink.texts


async def test_a_stream_that_outlasts_its_time_is_a_timeout_and_what_came_was_given(http: HttpClient) -> None:
    async with MockModel(MockOptions(stream_interval_ms=100)) as mock:
        sink = Sink()
        with pytest.raises(TargetTimeout):
            await target_of(mock, http).call(call_of(body_of("a " * 200), timeout_seconds=2.0), sink)
        assert sink.texts


async def test_an_answer_that_is_no_stream_is_the_result(mock: MockModel, http: HttpClient) -> None:
    sink = Sink()
    result = await target_of(mock, http).call(call_of(body_of("x", stream=False)), sink)
    assert text_in(result) == "echo: x"
    assert not sink.texts


def text_in(result: InferenceResult) -> str:
    answer = msgspec.json.decode(result.body)
    if "output" in answer:
        return str(answer["output"][0]["content"][0]["text"])
    choice = answer["choices"][0]
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TOOL_START = (
    b'data: {"type":"message_start","message":{"content":[],"usage":{"input_tokens":1}}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (b"data: [1]\n\n", TargetFailed),
        (b'data: {"type":"content_block_delta"}\n\n', TargetFailed),
        (b"", TargetFailed),
        (TOOL_START, TargetFailed),
        (OVERLOADED, TargetUnavailable),
        (b": hello\n\n" + OVERLOADED, TargetUnavailable),
        (TOOL_START[:85] + b"\n\n" + OVERLOADED, TargetFailed),
    ],
)
async def test_events_of_a_wrong_shape_or_of_an_error_are_told_as_such(
    http: HttpClient, events: bytes, kind: type[TargetError]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(SSE_HEAD + events)
        await writer.drain()

    async with raw_server(serve) as port:
        spec = TargetSpec(name="t", type=TargetType.ANTHROPIC, base_url=f"http://127.0.0.1:{port}")
        target = build_target(spec, http)
        sink = Sink()
        with pytest.raises(TargetError) as caught:
            await target.call(call_of(body_of("x"), "/v1/messages"), sink)
    assert type(caught.value) is kind
    assert not any("overloaded" in text for text in sink.texts)
