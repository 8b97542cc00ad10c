"""The mock model: the vendors' own clients accept it, and its faults, limits and counters do as they say."""

import asyncio
import base64
import json
import math
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import jsonschema_rs
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import RequestError
from forebay.targets.aiohttp_client import AiohttpClient
from forebay.testing.mock_model import Fault, MockModel, MockOptions, Told, moves_of
from forebay.testing.mock_model.limits import Room
from forebay.testing.mock_model.options import changed
from forebay.testing.mock_model.schema import least_instance

LONGEST_SECONDS = 60.0
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": ["good", "bad"]},
        "score": {"type": "number", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "null"}]},
    },
    "required": ["label", "score", "tags", "note"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "minLength": 3}},
}


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


@pytest.fixture
async def client(mock: MockModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=mock.base_url, api_key="any", max_retries=0) as made:
        yield made


def ask(text: str) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}]})


async def chat(http: AiohttpClient, mock: MockModel, text: str = "hi", **headers: str) -> tuple[int, Any]:
    response = await http.post(f"{mock.base_url}/chat/completions", headers, ask(text), LONGEST_SECONDS)
    return response.status, response


async def until_in_flight(mock: MockModel, count: int) -> None:
    while mock.calls["in_flight"] != count:
        await asyncio.sleep(0)


async def at_once(http: AiohttpClient, mock: MockModel, calls: int, *, refused: int) -> list[int]:
    """The statuses of calls that are all there before any is answered."""
    awaited = mock.calls["refused"] + refused
    mock.options = msgspec.structs.replace(mock.options, hold_after=0)
    asked = [asyncio.create_task(chat(http, mock)) for _ in range(calls)]
    while (mock.calls["refused"], mock.calls["in_flight"]) != (awaited, calls - refused):
        await asyncio.sleep(0)
    mock.options = msgspec.structs.replace(mock.options, hold_after=None)
    return sorted(status for status, _ in await asyncio.gather(*asked))


async def test_openais_client_chats_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi there"}])
    assert whole.choices[0].message.content == "echo: hi there"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi there"}], stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "echo: hi there"


async def test_openais_client_reads_every_other_endpoint(client: openai.AsyncOpenAI) -> None:
    completion = await client.completions.create(model="m", prompt="p")
    assert completion.choices[0].text == "echo: p"
    response = await client.responses.create(model="m", input="q")
    assert response.output_text == "echo: q"
    moderation = await client.moderations.create(input=["violence", "peace"])
    assert [result.flagged for result in moderation.results] == [True, False]
    image = await client.images.generate(model="m", prompt="a cat", n=2)
    assert image.data is not None
    assert base64.b64decode(image.data[1].b64_json or "").startswith(b"\x89PNG")
    speech = await client.audio.speech.create(model="m", voice="alloy", input="say")
    assert speech.content.startswith(b"RIFF")
    assert [model.id async for model in client.models.list()] == ["mock"]


async def test_openais_client_follows_a_stream_of_a_response(client: openai.AsyncOpenAI) -> None:
    kinds, text = [], ""
    async for event in await client.responses.create(model="m", input="q w", stream=True):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == "echo: q w"
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


async def test_embeddings_are_the_same_as_floats_and_as_base64(client: openai.AsyncOpenAI) -> None:
    floats = await client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    packed = await client.embeddings.create(model="m", input=["a", "b"])  # the client asks for base64
    assert floats.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)
    assert floats.data[0].embedding != floats.data[1].embedding


async def test_a_schema_is_answered_with_a_valid_instance(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "rate"}],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
    )
    jsonschema_rs.validate(SCHEMA, json.loads(answer.choices[0].message.content or ""))
    response = await client.responses.create(
        model="m", input="rate", text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    )
    jsonschema_rs.validate(SCHEMA, json.loads(response.output_text))


async def test_anthropics_client_speaks_whole_and_streamed(mock: MockModel) -> None:
    asked: Any = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi there"}]}
    async with anthropic.AsyncAnthropic(base_url=mock.url, api_key="any", max_retries=0) as client:
        message = await client.messages.create(**asked)
        assert message.content[0].type == "text"
        assert message.content[0].text == "echo: hi there"
        async with client.messages.stream(**asked) as stream:
            assert await stream.get_final_text() == "echo: hi there"
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(**{**asked, "messages": [{"role": "user", "content": "[[fault:429]]"}]})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
async def test_openais_client_understands_the_faults(
    client: openai.AsyncOpenAI, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"[[fault:{status}]]"}])
    assert caught.value.response.headers["x-request-id"]


async def test_equal_requests_have_equal_answers(mock: MockModel, http: AiohttpClient) -> None:
    first, second = [(await chat(http, mock, "same"))[1].body for _ in range(2)]
    assert first == second


async def test_a_counted_marker_fails_the_first_times_of_each_body(mock: MockModel, http: AiohttpClient) -> None:
    for text in ("a [[fault:500:2]]", "b [[fault:500:2]]"):
        assert [(await chat(http, mock, text))[0] for _ in range(4)] == [500, 500, 200, 200]
    assert mock.calls["by_outcome"] == {"500": 4, "200": 4}


async def test_calls_are_counted_by_job_and_key(mock: MockModel, http: AiohttpClient) -> None:
    for _ in range(2):
        await chat(http, mock, **{"x-forebay-job-id": "j1", "Idempotency-Key": "K-1"})
    response = await http.get(f"{mock.url}/mock/calls?ids=1", {}, 5)
    calls = msgspec.json.decode(response.body)
    assert calls["total"] == 2
    assert calls["by_job_id"] == {"j1": 2}
    assert calls["by_idempotency_key"] == {"K-1": 2}
    assert (calls["by_call"], calls["repeated"]) == ({"j1 0": "200"}, {"j1 0": 1})


async def test_it_tells_what_became_of_each_attempt(mock: MockModel, http: AiohttpClient) -> None:
    for attempt, text in enumerate(["well", "[[fault:422]]", "[[fault:truncate]]"], start=1):
        await chat(http, mock, text, **{"x-forebay-job-id": "j1", "x-forebay-attempt": str(attempt)})
    hanging = asyncio.create_task(chat(http, mock, "[[fault:hang]]", **{"x-forebay-job-id": "j2"}))
    await until_in_flight(mock, 1)
    hanging.cancel()
    await until_in_flight(mock, 0)
    assert mock.calls["by_call"] == {"j1 1": "200", "j1 2": "422", "j1 3": "truncate", "j2 0": "hang"}


async def test_a_rate_limit_refuses_what_exceeds_it_and_says_when_to_come_back(http: AiohttpClient) -> None:
    async with MockModel(MockOptions(requests_per_minute=3, burst_seconds=60)) as mock:
        answers = [await chat(http, mock) for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 429]
    assert answers[0][1].headers["x-ratelimit-remaining-requests"] == "2"
    wait_seconds = float(answers[3][1].headers["retry-after-ms"]) / 1000
    assert 0 < wait_seconds <= 20
    assert answers[3][1].headers["retry-after"] == str(math.ceil(wait_seconds))


async def test_a_limit_of_concurrency_refuses_what_exceeds_it(http: AiohttpClient) -> None:
    async with MockModel(MockOptions(concurrency=2)) as mock:
        assert await at_once(http, mock, 5, refused=3) == [200, 200, 429, 429, 429]
        assert mock.calls["by_outcome"] == {"200": 2, "429 concurrency": 3}


async def test_a_rate_limit_lets_through_only_a_small_burst_of_its_minute(http: AiohttpClient) -> None:
    async with MockModel(MockOptions(requests_per_minute=6, burst_seconds=50)) as mock:
        answers = await asyncio.gather(*(chat(http, mock) for _ in range(12)))
        assert 5 <= sum(status == 200 for status, _ in answers) <= 7
        assert mock.calls["refused"] == sum(status == 429 for status, _ in answers)


async def test_a_limit_of_concurrency_can_be_moved_while_it_runs(http: AiohttpClient) -> None:
    async with MockModel(MockOptions(moves=moves_of("2@0,4@900"))) as mock:
        assert (await at_once(http, mock, 5, refused=3)).count(200) == 2
        await http.post(f"{mock.url}/mock/options", {}, b'{"concurrency": 3}', LONGEST_SECONDS)
        assert (await at_once(http, mock, 5, refused=2)).count(200) == 3


async def test_a_limit_of_concurrency_moves_by_its_schedule() -> None:
    room = Room(MockOptions(moves=moves_of("12@30,37@0")))
    assert [room.refusal(37, 100.0), room.refusal(38, 129.9), room.refusal(12, 130.0), room.refusal(13, 130.0)] == [
        None,
        429,
        None,
        429,
    ]


async def test_beyond_its_capacity_a_server_slows_down_and_then_refuses(http: AiohttpClient) -> None:
    room = Room(MockOptions(capacity=4, overload=16))
    assert [room.slowdown(at_once) for at_once in (1, 4, 8, 16)] == [1, 1, 2, 4]
    async with MockModel(MockOptions(capacity=1, overload=3)) as mock:
        assert await at_once(http, mock, 5, refused=2) == [200, 200, 200, 503, 503]
        assert mock.calls["by_outcome"] == {"200": 3, "503 overload": 2}


@pytest.mark.parametrize(
    ("told", "said"), [(Told.ALL, {"rate", "retry"}), (Told.RETRY_AFTER, {"retry"}), (Told.NOTHING, set())]
)
async def test_limits_are_told_as_the_options_say(http: AiohttpClient, told: Told, said: set[str]) -> None:
    async with MockModel(MockOptions(requests_per_minute=1, told=told)) as mock:
        await chat(http, mock)
        status, response = await chat(http, mock)
    names = {"rate": "x-ratelimit-limit-requests", "retry": "retry-after"}
    assert status == 429
    assert {word for word, name in names.items() if name in response.headers} == said


@pytest.mark.parametrize("text", ["", "many", "0", "3@x", "12@5,-1@9"])
def test_a_schedule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        moves_of(text)


async def test_faults_by_chance_are_the_same_for_the_same_seed(http: AiohttpClient) -> None:
    runs = []
    for _ in range(2):
        async with MockModel(MockOptions(fault_rate=0.5, faults=(Fault.FAILED, Fault.UNAVAILABLE), seed=7)) as mock:
            runs.append([(await chat(http, mock))[0] for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500, 503}


async def test_a_key_is_asked_for_where_one_is_set(http: AiohttpClient) -> None:
    async with MockModel(MockOptions(api_key="k")) as mock:
        assert (await chat(http, mock))[0] == 401
        assert (await chat(http, mock, authorization="Bearer k"))[0] == 200
        assert (await chat(http, mock, **{"x-api-key": "k"}))[0] == 200


async def test_options_change_while_it_runs(mock: MockModel, http: AiohttpClient) -> None:
    patch = b'{"fault_rate": 1, "faults": ["503"], "retry_after_seconds": 9}'
    assert (await http.post(f"{mock.url}/mock/options", {}, patch, 5)).status == 200
    status, response = await chat(http, mock)
    assert (status, response.headers["retry-after"]) == (503, "9")
    assert (await http.post(f"{mock.url}/mock/options", {}, b'{"speed": 1}', 5)).status == 400


async def test_calls_are_held_until_let_go_or_given_up_and_a_reset_counts_anew(
    mock: MockModel, http: AiohttpClient
) -> None:
    mock.options = MockOptions(hold_after=1)
    assert (await chat(http, mock, "first"))[0] == 200
    second, third = [asyncio.create_task(chat(http, mock, text)) for text in ("second", "third")]
    await until_in_flight(mock, 2)
    third.cancel()
    await until_in_flight(mock, 1)
    assert not second.done()
    mock.options = MockOptions()
    assert (await second)[0] == 200
    assert mock.calls["by_outcome"] == {"200": 2, "aborted": 1}
    await http.post(f"{mock.url}/mock/reset", {}, b"", LONGEST_SECONDS)
    assert mock.calls["total"] == 0


async def raw(mock: MockModel, *pieces: bytes, answers: int) -> bytes:
    """Sends pieces on one connection and reads until so many answers came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    received = b""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(LONGEST_SECONDS):
        while received.count(b'"usage"') < answers:
            received += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return received


def post(body: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in lines or (f"Content-Length: {len(body)}",))
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body


async def test_pipelined_requests_are_answered_in_order(mock: MockModel) -> None:
    requests = b"".join(post(ask(f"number {index}.")) for index in range(2000))
    received = await raw(mock, requests, answers=2000)
    found = [received.index(b"echo: number %d." % index) for index in range(2000)]
    assert found == sorted(found)


async def test_a_chunked_body_in_pieces_is_read(mock: MockModel) -> None:
    body = ask("in pieces")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    request = post(chunks, "Transfer-Encoding: chunked")
    received = await raw(mock, *(request[start : start + 11] for start in range(0, len(request), 11)), answers=1)
    assert b"echo: in pieces" in received


async def test_a_client_that_expects_to_continue_is_told_to(mock: MockModel) -> None:
    body = ask("go on")
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(post(b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
    async with asyncio.timeout(LONGEST_SECONDS):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    writer.close()


@pytest.mark.parametrize("head", ["Content-Length: many", "Content-Length: -1", "Transfer-Encoding: chunked"])
async def test_a_malformed_request_is_refused(mock: MockModel, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(post(b"zz\r\n", head))
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_good_order(number: signal.Signals, http: AiohttpClient) -> None:
    code = "from forebay.testing.mock_model import serve; serve(port=0)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(LONGEST_SECONDS):
        base_url = (await process.stdout.readline()).decode().split()[-1]
        assert (await http.get(f"{base_url}/models", {}, 5)).status == 200
        process.send_signal(number)
        assert await process.wait() == 0


NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={"minimum": st.integers(-9, 4), "maximum": st.integers(5, 9), "multipleOf": st.integers(1, 3)},
)
STRINGS = st.fixed_dictionaries(
    {"type": st.just("string")}, optional={"minLength": st.integers(0, 9), "maxLength": st.integers(9, 20)}
)
LEAVES = NUMBERS | STRINGS | st.just({"type": "boolean"}) | st.just({"type": ["null", "string"]})
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "minItems": st.integers(0, 3)})
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
            lambda members: {"type": "object", "properties": members, "required": list(members)}
        )
        | st.lists(inner, min_size=1, max_size=2).map(lambda choices: {"anyOf": choices})
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.text(max_size=30))
def test_the_least_instance_of_a_schema_is_valid(schema: dict[str, Any], text: str) -> None:
    jsonschema_rs.validate(schema, least_instance(schema, text))


def test_options_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(RequestError):
        changed(MockOptions(), b'{"latency_ms": "long"}')
