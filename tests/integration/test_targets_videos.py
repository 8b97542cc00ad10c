"""The wire of videos as a target speaks it: what is asked, and what each answer means for the work."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from forebay.domain.errors import RemoteFailed, TargetError, TargetFailed, TargetRejected, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec, TargetType
from forebay.ports import SlowTarget
from forebay.targets.build import build_target
from forebay.targets.clients import HttpLibrary, open_http

from .raw_servers import raw_server
from .test_targets_http_service import Service, reply

Place = tuple[Service, SlowTarget]

JSON = "content-type: application/json"
LOST = reply("404 Not Found", b'{"error": {"message": "no such video"}}', JSON)
PAGE = reply("404 Not Found", b"<html>no backend</html>", "content-type: text/html")
FILM = reply("200 OK", b"film", "content-type: video/mp4")


def video(status: str, *lines: str, **members: object) -> bytes:
    document = {"id": "video_7", "object": "video", "status": status, "progress": 40, **members}
    return reply("200 OK", json.dumps(document).encode(), JSON, *lines)


def failed(code: str | None) -> bytes:
    return video("failed", error={"code": code, "message": "no film"})


@asynccontextmanager
async def running(
    *answers: bytes, library: HttpLibrary = HttpLibrary.WREQ
) -> AsyncIterator[tuple[Service, SlowTarget]]:
    service = Service(*answers)
    http = open_http(library)
    async with raw_server(service.serve) as port:
        spec = TargetSpec(name="maker", type=TargetType.OPENAI, base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
        target = build_target(spec, http)
        assert isinstance(target, SlowTarget)
        yield service, target
        await http.close()


def call_of(**fields: object) -> Call:
    call = Call(job_id="job_7", attempt=1, endpoint="/v1/videos", body=b'{"prompt":"a"}', timeout_seconds=60)
    return msgspec.structs.replace(call, idempotency_key="job_7.1", **fields)


async def polled(target: SlowTarget, times: int = 1) -> InferenceResult:
    """Creates, and asks so often."""
    result = await target.call(call_of())
    for _ in range(times):
        assert result.pending is not None
        result = await target.call(call_of(body=b"", pending=result.pending.state))
    return result


async def test_a_create_is_pending_with_its_progress_and_is_asked_for_when_it_is_said() -> None:
    later = video("in_progress", "openai-poll-after-ms: 250")
    async with running(video("queued"), later, video("in_progress", "retry-after: 7")) as (service, target):
        pauses, call = [], call_of()
        for _ in range(3):
            pending = (await target.call(call)).pending
            assert pending is not None
            assert pending.progress == 0.4
            pauses.append(pending.after_seconds)
            call = call_of(body=b"", pending=pending.state)
    assert pauses == [2.0, 0.25, 7.0]
    assert "\r\nidempotency-key: job_7.1\r\n" in service.heads[0].lower()
    assert [head.split(" HTTP")[0] for head in service.heads[:2]] == ["POST /v1/videos", "GET /v1/videos/video_7"]


@pytest.mark.parametrize("library", list(HttpLibrary))
async def test_a_completed_video_is_fetched(library: HttpLibrary) -> None:
    async with running(video("queued"), video("completed"), FILM, library=library) as (service, target):
        result = await polled(target)
    assert (result.body, result.content_type, result.pending) == (b"film", "video/mp4", None)
    assert service.heads[-1].startswith("GET /v1/videos/video_7/content ")
    assert "authorization: bearer k" in service.heads[-1].lower()


async def test_a_server_that_makes_it_at_once_is_taken_at_its_word() -> None:
    async with running(video("completed"), FILM) as (_, target):
        assert (await target.call(call_of())).body == b"film"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failed("server_error"), RemoteFailed),
        (failed(None), RemoteFailed),
        (failed("moderation_blocked"), TargetRejected),
        (LOST, RemoteFailed),
        (PAGE, TargetFailed),
        (reply("500 Internal Server Error"), TargetFailed),
        (reply("503 Service Unavailable"), TargetUnavailable),
        (reply("401 Unauthorized"), TargetRejected),
        (reply("200 OK", b'{"object": "list"}', JSON), TargetFailed),
        (reply("200 OK", b'{"object": "vid', JSON), TargetFailed),
    ],
)
async def test_what_an_answer_says_of_the_work(answer: bytes, kind: type[TargetError]) -> None:
    async with running(video("queued"), answer) as (_, target):
        with pytest.raises(TargetError) as caught:
            await polled(target)
    assert type(caught.value) is kind


async def test_a_content_that_is_not_there_yet_is_asked_for_again_and_then_lost() -> None:
    gone = [answer for _ in range(11) for answer in (video("completed"), LOST)]
    async with running(video("queued"), *gone) as (_, target):
        assert (await polled(target, 2)).pending is not None
    async with running(video("queued"), *gone) as (_, target):
        with pytest.raises(RemoteFailed):
            await polled(target, 11)


@pytest.mark.parametrize("named", ["../../keys", "a/b", "", "a?b"])
async def test_an_id_that_leads_elsewhere_is_not_followed(named: str) -> None:
    async with running(video("queued", id=named), video("queued", id=named)) as (service, target):
        with pytest.raises(RemoteFailed):
            await polled(target)
    assert len(service.heads) == 1


@pytest.mark.parametrize("answer", [reply("200 OK", b"{}", JSON), LOST, PAGE, reply("409 Conflict")])
async def test_a_withdrawal_deletes_as_far_as_the_vendor_lets_it(answer: bytes) -> None:
    async with running(video("queued"), answer) as (service, target):
        pending = (await target.call(call_of())).pending
        assert pending is not None
        await target.withdraw(pending.state)
    assert service.heads[-1].startswith("DELETE /v1/videos/video_7 ")


async def test_a_withdrawal_that_is_not_heard_is_told() -> None:
    async with running(video("queued"), reply("502 Bad Gateway")) as (_, target):
        pending = (await target.call(call_of())).pending
        assert pending is not None
        with pytest.raises(TargetFailed):
            await target.withdraw(pending.state)
