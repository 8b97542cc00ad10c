"""``/v1/responses`` at a target: passed on, or made from chat completions, by what its server answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import ResponsesMode, TargetSpec, TargetType
from forebay.policy.responses_stream import events_in
from forebay.ports import Target
from forebay.targets.build import Surroundings, build_target, build_targets
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient
from forebay.testing.mock_model import MockModel

Json = dict[str, Any]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
UNKNOWN = (404, {"error": {"message": "no such path"}})
COMPLETION = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "model": "m",
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
RESPONSE = {"id": "resp_theirs", "object": "response", "status": "completed", "output": []}
DELTAS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "h"}}]},
    {"choices": [{"index": 0, "delta": {"content": "i"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]


class Upstream:
    """Answers by path, in order, the last answer for ever: ``(status, object)``, or the text of an event stream."""

    def __init__(self) -> None:
        self.script: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, Json]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json()))
        steps = self.script.get(request.path, [UNKNOWN])
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(step, str):
            return web.Response(text=step, content_type="text/event-stream")
        status, body = step
        return web.json_response(body, status=status)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Json] = []

    async def write(self, text: str) -> None:
        self.events += events_in(text)

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events]


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = open_http(HttpLibrary.AIOHTTP)
    yield client
    await client.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    app = web.Application()
    app.router.add_post("/{path:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    found.url = f"http://{host}:{port}/v1"
    yield found
    await runner.cleanup()


def target_of(upstream: Upstream, http: HttpClient, mode: ResponsesMode = ResponsesMode.AUTO) -> Target:
    return build_target(TargetSpec(name="t", type=TargetType.OPENAI, base_url=upstream.url, responses=mode), http)


async def called(target: Target, sink: Sink | None = None, **members: Any) -> InferenceResult:
    body = json.dumps({"model": "m", "input": "x", **members}).encode()
    call = Call(
        job_id="job_1", attempt=1, endpoint=RESPONSES, body=body, timeout_seconds=30, is_stream=sink is not None
    )
    return await target.call(call, sink)


async def test_a_server_without_that_path_is_asked_for_chat_from_then_on(upstream: Upstream, http: HttpClient) -> None:
    upstream.script[CHAT] = [(200, COMPLETION)]
    target = target_of(upstream, http)
    for _ in range(2):
        result = await called(target)
        body = json.loads(result.body)
        assert (body["id"], body["status"], body["output"][0]["content"][0]["text"]) == ("resp_1", "completed", "hi")
        assert result.usage is not None
        assert (result.usage.input_tokens, result.usage.output_tokens) == (3, 2)
    assert upstream.paths == [RESPONSES, CHAT, CHAT]


async def test_a_server_that_knows_neither_is_believed_about_the_first(upstream: Upstream, http: HttpClient) -> None:
    upstream.script[RESPONSES] = [(404, {"error": {"message": "the model does not exist"}}), (200, RESPONSE)]
    target = target_of(upstream, http)
    with pytest.raises(TargetRejected, match="the model does not exist"):
        await called(target)
    assert json.loads((await called(target)).body) == RESPONSE


async def test_a_server_that_spoke_it_once_is_believed_later(upstream: Upstream, http: HttpClient) -> None:
    upstream.script = {RESPONSES: [(200, RESPONSE), UNKNOWN], CHAT: [(200, COMPLETION)]}
    target = target_of(upstream, http)
    await called(target)
    with pytest.raises(TargetRejected):
        await called(target)
    assert upstream.paths == [RESPONSES, RESPONSES]


@pytest.mark.parametrize(("mode", "path"), [(ResponsesMode.NATIVE, RESPONSES), (ResponsesMode.CHAT, CHAT)])
async def test_what_is_declared_is_not_tried_out(
    upstream: Upstream, http: HttpClient, mode: ResponsesMode, path: str
) -> None:
    with pytest.raises(TargetRejected):
        await called(target_of(upstream, http, mode))
    assert upstream.paths == [path]


@pytest.mark.parametrize("mode", [ResponsesMode.NATIVE, ResponsesMode.CHAT])
async def test_what_is_ours_is_never_sent_upstream(upstream: Upstream, http: HttpClient, mode: ResponsesMode) -> None:
    upstream.script = {RESPONSES: [(200, RESPONSE)], CHAT: [(200, COMPLETION)]}
    await called(target_of(upstream, http, mode), background=True, store=False, stream=False, top_p=0.5)
    [(_, sent)] = upstream.asked
    assert {"background", "store", "stream"}.isdisjoint(sent)
    assert (sent["top_p"], sent["model"]) == (0.5, "m")


async def test_what_chat_cant_say_is_refused_in_the_vendors_way(upstream: Upstream, http: HttpClient) -> None:
    with pytest.raises(TargetRejected) as refused:
        await called(target_of(upstream, http, ResponsesMode.CHAT), tools=[{"type": "web_search"}])
    assert upstream.asked == []
    assert refused.value.status_code == 400
    error = json.loads(refused.value.body or b"")["error"]
    assert (error["param"], error["code"]) == ("tools[0].type", "not_supported")


def sse(*events: Json, end: bool = True) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if end else "")


async def test_chat_streams_as_responses(upstream: Upstream, http: HttpClient) -> None:
    upstream.script[CHAT] = [": hello\n\n" + sse(*DELTAS, {"choices": [], "usage": COMPLETION["usage"]})]
    sink = Sink()
    result = await called(target_of(upstream, http, ResponsesMode.CHAT), sink)
    assert sink.types == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in sink.events] == list(range(10))
    assert sink.events[-1]["response"] == json.loads(result.body)
    assert upstream.asked[0][1]["stream_options"] == {"include_usage": True}
    assert result.usage is not None


async def test_a_server_that_answers_a_stream_whole_is_read_all_the_same(upstream: Upstream, http: HttpClient) -> None:
    upstream.script[CHAT] = [(200, COMPLETION)]
    sink = Sink()
    result = await called(target_of(upstream, http, ResponsesMode.CHAT), sink)
    assert (sink.events, json.loads(result.body)["output"][0]["content"][0]["text"]) == ([], "hi")


async def test_a_native_stream_goes_on_verbatim_with_stream_set(upstream: Upstream, http: HttpClient) -> None:
    events = [{"type": "response.created", "response": RESPONSE}, {"type": "response.completed", "response": RESPONSE}]
    upstream.script[RESPONSES] = [sse(*events, end=False)]
    sink = Sink()
    assert json.loads((await called(target_of(upstream, http), sink)).body) == RESPONSE
    assert sink.events == events
    assert upstream.asked[0][1]["stream"] is True


@pytest.mark.parametrize(
    ("mode", "step", "kind"),
    [
        (ResponsesMode.CHAT, (200, {"choices": []}), TargetFailed),
        (ResponsesMode.CHAT, (200, {"error": {"message": "x"}}), TargetFailed),
        (ResponsesMode.CHAT, (200, {"choices": ["x"]}), TargetFailed),
        (ResponsesMode.CHAT, (200, [1]), TargetFailed),
        (ResponsesMode.CHAT, sse(*DELTAS[:2], end=False), TargetFailed),
        (ResponsesMode.CHAT, sse(DELTAS[0], {"error": {"message": "broken"}}), TargetFailed),
        (ResponsesMode.CHAT, sse({"choices": [{"delta": {"tool_calls": ["x"]}}]}), TargetFailed),
        (ResponsesMode.NATIVE, sse({"type": "response.failed", "response": {"error": {"message": "x"}}}), TargetFailed),
        (ResponsesMode.NATIVE, sse({"type": "error", "message": "x"}), TargetFailed),
        (ResponsesMode.NATIVE, "data: {broken\n\n", TargetFailed),
        (ResponsesMode.NATIVE, (200, {**RESPONSE, "status": "failed", "error": {"message": "x"}}), TargetFailed),
        (ResponsesMode.NATIVE, (500, {}), TargetFailed),
    ],
)
async def test_what_is_no_answer_is_a_failed_call(
    upstream: Upstream, http: HttpClient, mode: ResponsesMode, step: Any, kind: type[TargetError]
) -> None:
    upstream.script = {CHAT: [step], RESPONSES: [step]}
    with pytest.raises(kind):
        await called(target_of(upstream, http, mode), Sink())


async def test_a_local_model_is_asked_for_chat_alone() -> None:
    async with MockModel() as mock:

        class Starter:
            async def address(self, model: str) -> tuple[str, str]:
                assert model == "small"
                return mock.base_url, ""

        spec = TargetSpec(name="local", type=TargetType.LOCAL, model="small")
        async with build_targets([spec], around=Surroundings(local=Starter())) as targets:
            answered = json.loads((await called(targets["local"])).body)
        assert answered["output"][0]["content"][0]["text"] == "echo: x"
        assert mock.calls["by_endpoint"] == {"/chat/completions": 1}
