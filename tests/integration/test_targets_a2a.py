"""Targets of type ``a2a`` against agents that say exactly what a test has them say."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.domain.errors import (
    RemoteFailed,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.a2a import A2aTarget
from forebay.targets.build import build_target
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary, open_http

from .raw_servers import end_of, raw_server, request_of

Answers = Mapping[str, Any]
HANGS = object()


def card(url: str, **changes: Any) -> dict[str, Any]:
    interface = {"url": url, "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", **changes}
    return {"name": "Agent", "supportedInterfaces": [interface], "capabilities": {}, "skills": [{"name": "all"}]}


def task(state: str, words: str = "", **members: Any) -> dict[str, Any]:
    status = {"state": state, **({"message": {"parts": [{"text": words}]}} if words else {})}
    return {"id": "t-1", "status": status, **members}


class Raw:
    """Answers by the request's line; an answer is a body, or a status with one. ``heads`` has what was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = dict(answers)
        self.heads: list[str] = []
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await request_of(reader)).partition(b"\r\n\r\n")
            self.heads.append(head.decode())
            self.bodies.append(body)
            answer = self.answers.get(head.decode().split(" HTTP")[0], (404, b"no such page"))
            if answer is HANGS:
                await end_of(reader)
                return
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)

    @property
    def lines(self) -> list[str]:
        return [head.split(" HTTP")[0] for head in self.heads]


SEND = "POST /a2a/message:send"
CARD = "GET /.well-known/agent-card.json"
POLL = "GET /a2a/tasks/t-1"
CANCEL = "POST /a2a/tasks/t-1:cancel"


@asynccontextmanager
async def agent(
    answers: Answers, library: HttpLibrary = DEFAULT_LIBRARY, **spec: Any
) -> AsyncIterator[tuple[Raw, A2aTarget]]:
    raw, http = Raw(answers), open_http(library)
    async with raw_server(raw.serve) as port:
        origin = f"http://127.0.0.1:{port}"
        raw.answers.setdefault(CARD, card(f"{origin}/a2a"))
        given = {"url": origin, "api_key": "s3cret", **spec}
        placed = {
            name: value.replace("ORIGIN", origin) if isinstance(value, str) else value for name, value in given.items()
        }
        target = build_target(TargetSpec(name="agent", type=TargetType.A2A, **placed), http)
        assert isinstance(target, A2aTarget)
        yield raw, target
        await http.close()


def call_of(text: str = "Hello", timeout_seconds: float = 60) -> Call:
    body = json.dumps({"text": text}).encode()
    return Call(job_id="job_7", attempt=1, endpoint="", body=body, timeout_seconds=timeout_seconds, hops=2)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_a_message_is_the_answer(library: HttpLibrary) -> None:
    said = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "Hi"}]}
    async with agent({SEND: {"message": said}}, library) as (raw, target):
        result = await target.call(call_of())
    assert json.loads(result.body) == said
    head = raw.heads[-1].lower()
    expected = ["a2a-version: 1.0", "authorization: bearer s3cret", "forebay-job-id: job_7", "forebay-hops: 2"]
    assert all(f"\r\n{line}" in head for line in expected)


async def test_a_task_that_is_completed_is_the_answer_as_the_agent_wrote_it() -> None:
    done = task("TASK_STATE_COMPLETED", artifacts=[{"artifactId": "a", "parts": [{"data": {"x": 1.50}}]}], extra="kept")
    async with agent({SEND: {"task": done}}) as (_, target):
        assert json.loads((await target.call(call_of())).body) == done


async def test_bytes_in_an_answer_are_files_beside_it_and_all_else_stays() -> None:
    parts = [{"text": "a chart"}, {"raw": "iVBORw==", "mediaType": "image/png", "filename": "chart.png"}]
    done = task("TASK_STATE_COMPLETED", artifacts=[{"artifactId": "a", "parts": parts}], history=[{"parts": "odd"}])
    async with agent({SEND: {"task": done}}) as (_, target):
        result = await target.call(call_of())
    [file] = result.files
    assert (file.content, file.content_type, file.filename) == (b"\x89PNG", "image/png", "chart.png")
    told = json.loads(result.body)
    shown = {"object": "file", "file_id": file.mark, "content_type": "image/png", "bytes": 4}
    assert told["artifacts"][0]["parts"][1] == {"mediaType": "image/png", "filename": "chart.png", "file": shown}
    assert (told["id"], told["history"], told["artifacts"][0]["parts"][0]) == ("t-1", [{"parts": "odd"}], parts[0])


@pytest.mark.parametrize(("raw", "content"), [("-_8", b"\xfb\xff"), ("+/8=", b"\xfb\xff"), ("", b"")])
async def test_bytes_come_in_every_alphabet_of_protojson(raw: str, content: bytes) -> None:
    message = {"messageId": "m", "parts": [{"raw": raw}]}
    async with agent({SEND: {"message": message}}) as (_, target):
        assert [file.content for file in (await target.call(call_of())).files] == [content]


async def test_bytes_that_are_none_are_no_answer() -> None:
    async with agent({SEND: {"message": {"parts": [{"raw": "!"}]}}}) as (_, target):
        with pytest.raises(TargetFailed, match="base64"):
            await target.call(call_of())


@pytest.mark.parametrize("state", ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"])
async def test_a_task_that_goes_on_is_asked_for_until_it_is_done(state: str) -> None:
    done = task("TASK_STATE_COMPLETED")
    async with agent({SEND: {"task": task(state)}, POLL: task(state)}) as (raw, target):
        first = (await target.call(call_of())).pending
        assert first is not None
        again = (await target.call(replace(call_of(), body=b"", pending=first.state))).pending
        assert again is not None
        assert again.state == first.state, "a poll that tells nothing new writes nothing"
        raw.answers[POLL] = done
        result = await target.call(replace(call_of(), body=b"", pending=first.state))
    assert json.loads(result.body) == done
    assert raw.lines == [CARD, SEND, POLL, POLL]


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ("TASK_STATE_FAILED", RemoteFailed, "failed: why"),
        ("TASK_STATE_REJECTED", TargetRejected, "refuses the task: why"),
        ("TASK_STATE_CANCELED", TargetRejected, "cancelled the task: why"),
        ("TASK_STATE_INPUT_REQUIRED", TargetRejected, "asks for more before it goes on: why"),
        ("TASK_STATE_AUTH_REQUIRED", TargetRejected, "asks for an authorisation before it goes on: why"),
        ("TASK_STATE_UNSPECIFIED", TargetFailed, "TASK_STATE_UNSPECIFIED"),
        ("TASK_STATE_OF_2031", TargetFailed, "TASK_STATE_OF_2031"),
    ],
)
async def test_every_other_state_is_an_error_with_the_agents_words_and_its_task(
    state: str, error: type[TargetError], words: str
) -> None:
    ended = task(state, "why")
    async with agent({SEND: {"task": ended}, POLL: ended}) as (_, target):
        for call in (call_of(), replace(call_of(), body=b"", pending='{"task":"t-1","since":0}')):
            with pytest.raises(error, match=words) as caught:
                await target.call(call)
            assert b'"t-1"' in (caught.value.body or b"")


@pytest.mark.parametrize("state", ["TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"])
async def test_a_task_that_is_answered_may_be_shown_as_it_was_before_and_is_asked_for(state: str) -> None:
    body = json.dumps({"message": {"parts": [{"text": "Rome"}], "taskId": "t-1"}}).encode()
    async with agent({SEND: {"task": task(state)}, POLL: task("TASK_STATE_COMPLETED")}) as (raw, target):
        pending = (await target.call(replace(call_of(), body=body))).pending
        assert pending is not None
        assert (await target.call(replace(call_of(), body=b"", pending=pending.state))).pending is None
        raw.answers[POLL] = task(state)
        with pytest.raises(TargetRejected, match="before it goes on"):
            await target.call(replace(call_of(), body=b"", pending=pending.state))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"<html>", TargetFailed),
        (b"{}", TargetFailed),
        (b'{"task": {"status": {"state": "TASK_STATE_WORKING"}}}', TargetFailed),
        (b'{"task": {"id": "", "status": {"state": "TASK_STATE_WORKING"}}}', TargetFailed),
        (b'{"task": {"id": "..", "status": {"state": "TASK_STATE_WORKING"}}}', TargetFailed),
        ({"task": task("TASK_STATE_COMPLETED"), "message": {"parts": []}}, TargetFailed),
        ((500, b"{}"), TargetFailed),
        ((503, b""), TargetUnavailable),
        ((429, b""), TargetThrottled),
        ((400, {"error": {"code": 400, "message": "Invalid params"}}), TargetRejected),
        ((401, b""), TargetRejected),
        ((404, b"no such page"), TargetRejected),
        ((302, b""), TargetRejected),
    ],
)
async def test_what_is_no_answer_of_a2a_is_judged_as_every_targets(answer: Any, error: type[TargetError]) -> None:
    async with agent({SEND: answer}) as (_, target):
        with pytest.raises(error) as caught:
            await target.call(call_of())
    assert type(caught.value) is error
    assert "s3cret" not in caught.value.message


async def test_an_agent_that_hangs_ends_with_the_calls_time() -> None:
    async with agent({SEND: HANGS}) as (_, target):
        with pytest.raises(TargetTimeout):
            await target.call(call_of(timeout_seconds=0.5))


async def test_a_task_that_the_agent_does_not_know_is_lost_and_a_proxys_page_is_asked_again() -> None:
    unknown = {"error": {"code": 404, "status": "NOT_FOUND", "message": "Task not found"}}
    pending = replace(call_of(), body=b"", pending='{"task":"t-1","since":0}')
    async with agent({POLL: (404, unknown)}) as (raw, target):
        with pytest.raises(RemoteFailed, match="does not know the task"):
            await target.call(pending)
        raw.answers[POLL] = (404, b"<h1>default backend</h1>")
        with pytest.raises(TargetFailed) as caught:
            await target.call(pending)
        assert not isinstance(caught.value, RemoteFailed)


async def test_a_card_that_is_wrong_for_a_while_costs_no_work_that_is_under_way() -> None:
    async with agent({CARD: card("http://127.0.0.1:9/a2a"), POLL: task("TASK_STATE_COMPLETED")}) as (raw, target):
        pending = replace(call_of(), body=b"", pending='{"task":"t-1","since":0}')
        with pytest.raises(TargetFailed) as caught:
            await target.call(pending)
        assert not isinstance(caught.value, RemoteFailed)
        del raw.answers[CARD]
        raw.answers["GET /tasks/t-1"] = raw.answers[POLL]  # without a card its address is its interface
        assert (await target.call(pending)).status_code == 200


async def test_a_tasks_id_is_one_step_of_the_path_whatever_the_agent_chose() -> None:
    answers = {"GET /a2a/tasks/a%2F..%2F%3Fb%20c": task("TASK_STATE_COMPLETED")}
    async with agent(answers) as (_, target):
        state = json.dumps({"task": "a/../?b c", "since": 0})
        assert (await target.call(replace(call_of(), body=b"", pending=state))).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        task("TASK_STATE_CANCELED"),
        (404, {"error": {"code": 404, "message": "Task not found"}}),
        (400, {"error": {"code": 400, "message": "Task cannot be canceled"}}),
        (409, {"error": {"code": 409, "message": "Task cannot be canceled"}}),
    ],
)
async def test_a_task_that_is_not_wanted_any_more_is_cancelled_where_it_can_be(answer: Any) -> None:
    async with agent({CANCEL: answer}) as (raw, target):
        await target.withdraw('{"task":"t-1","since":0}')
    assert raw.lines == [CARD, CANCEL]


async def test_a_cancellation_that_did_not_arrive_is_told() -> None:
    async with agent({CANCEL: (503, b"")}) as (_, target):
        with pytest.raises(TargetUnavailable):
            await target.withdraw('{"task":"t-1","since":0}')


async def test_the_key_goes_to_no_other_origin_than_the_configured_one() -> None:
    async with agent({CARD: card("http://127.0.0.1:9/a2a")}) as (raw, target):
        with pytest.raises(TargetRejected, match=r"another origin.*targets\.agent\.base_url"):
            await target.call(call_of())
    assert raw.lines == [CARD]


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "127.0.0.2", "[::1]", "LOCALHOST"])
async def test_an_agent_of_this_machine_may_call_itself_by_another_name_of_it(host: str) -> None:
    async with agent({SEND: {"message": {"parts": []}}}) as (raw, target):
        port = raw.answers[CARD]["supportedInterfaces"][0]["url"].split(":")[2].removesuffix("/a2a")
        raw.answers[CARD] = card(f"http://{host}:{port}/a2a/")
        await target.call(call_of())
        assert raw.lines == [CARD, SEND], "at the address that was configured"


async def test_an_interface_elsewhere_is_right_where_it_is_configured() -> None:
    answers = {CARD: card("http://127.0.0.1:9/a2a"), "POST /other/message:send": {"message": {"parts": []}}}
    async with agent(answers, base_url="ORIGIN/other/") as (raw, target):
        await target.call(call_of())
    assert raw.lines == [CARD, "POST /other/message:send"]


async def test_a_card_that_stands_elsewhere_is_read_without_the_key() -> None:
    async with agent({"POST /x/message:send": {"message": {"parts": []}}}) as (interface, target):
        await target.check()
        assert "s3cret" in interface.heads[0], "the same origin"
        base_url = f"{interface.answers[CARD]['supportedInterfaces'][0]['url'].removesuffix('/a2a')}/x"
        async with agent({}, base_url=base_url, headers={"x-secret": "h1dden"}) as (place, other):
            await other.call(call_of())
        assert place.lines == [CARD]
        assert not [secret for secret in ("s3cret", "h1dden") if secret in place.heads[0]]
        assert {"s3cret", "h1dden"} <= {word for line in interface.heads[-1].split("\r\n") for word in line.split()}


async def test_of_several_interfaces_the_one_that_is_spoken_is_chosen_with_its_tenant() -> None:
    async with agent({"POST /rest/acme/message:send": {"message": {"parts": []}}}, url="ORIGIN/cards/a.json") as (
        raw,
        target,
    ):
        origin = raw.answers.pop(CARD)["supportedInterfaces"][0]["url"].removesuffix("/a2a")
        interfaces = [
            {"url": f"{origin}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": f"{origin}/old", "protocolBinding": "HTTP+JSON", "protocolVersion": "0.3.0"},
            {"url": f"{origin}/rest/", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "tenant": "acme"},
        ]
        raw.answers["GET /cards/a.json"] = {"name": "A", "supportedInterfaces": interfaces}
        await target.call(call_of())
    assert raw.lines == ["GET /cards/a.json", "POST /rest/acme/message:send"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (card("ORIGIN/a2a", protocolBinding="JSONRPC"), TargetRejected, r"HTTP\+JSON 1.0, but: JSONRPC 1.0"),
        (card("ORIGIN/a2a", protocolVersion="0.3.0"), TargetRejected, "0.3.0"),
        ({"url": "http://x", "protocolVersion": "0.3.0"}, TargetRejected, "none"),
        (b"<html>", TargetFailed, "can't be read"),
        ((503, b""), TargetUnavailable, "503"),
        ((401, b""), TargetRejected, "401"),
    ],
)
async def test_a_card_that_does_not_serve_is_told(given: Any, error: type[TargetError], words: str) -> None:
    async with agent({CARD: given}) as (_, target):
        with pytest.raises(error, match=words):
            await target.call(call_of())


async def test_an_agent_without_a_card_is_spoken_to_where_it_is_said_to_be() -> None:
    answers = {"GET /a2a/.well-known/agent-card.json": (404, b""), SEND: {"message": {"parts": []}}}
    async with agent(answers, url="ORIGIN/a2a") as (_, target):
        await target.call(call_of())
        assert "shows no card" in await target.check()


async def test_the_card_is_read_once_by_calls_that_begin_together_and_again_where_it_was_wrong() -> None:
    async with agent({SEND: {"message": {"parts": []}}}) as (raw, target):
        await asyncio.gather(*[target.call(call_of()) for _ in range(5)])
        assert raw.lines.count(CARD) == 1
        raw.answers[SEND] = (404, b"")
        with pytest.raises(TargetRejected):
            await target.call(call_of())
        raw.answers[SEND] = {"message": {"parts": []}}
        await target.call(call_of())
        assert raw.lines.count(CARD) == 2


async def test_check_tells_who_is_there() -> None:
    async with agent({}) as (_, target):
        assert await target.check() == "agent: Agent (all), is polled"


async def test_a_stream_is_refused_before_anything_is_sent() -> None:
    async with agent({}) as (raw, target):
        with pytest.raises(TargetRejected, match="stream"):
            await target.call(replace(call_of(), is_stream=True))
    assert raw.lines == []
