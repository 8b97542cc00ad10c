"""``/v1/ws`` over a real server and the public client `websockets`."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from forebay.domain.query import JobQuery
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.socket_client import open_socket, socket_url


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def test_a_submitted_job_is_accepted_and_its_result_comes_by_itself(server: Server) -> None:
    async with open_socket(server.url) as socket:
        job_id = await socket.submit("r1", body=CHAT)
        await server.hand.succeed(await server.hand.take())
        told = await socket.hear()
    assert told == {"type": "job", "job": await server.get(f"/v1/jobs/{job_id}")}
    assert told["job"]["status"] == "succeeded"
    assert told["job"]["result"]["body"]["choices"][0]["message"]["content"] == "hi"


async def test_the_socket_stands_without_v1_as_well(server: Server) -> None:
    async with open_socket(server.url, "/ws") as socket:
        assert await socket.is_quiet()


async def test_a_failed_job_is_told_with_its_error(server: Server) -> None:
    async with open_socket(server.url) as socket:
        await socket.submit("r1", body=CHAT)
        await server.hand.fail(await server.hand.take())
        told = await socket.hear()
    assert (told["job"]["status"], told["job"]["error"]["code"]) == ("failed", "target_rejected")


async def test_watching_answers_at_once_and_again_when_a_job_has_ended(server: Server) -> None:
    job_id = (await server.submit())["id"]
    async with open_socket(server.url) as socket:
        await socket.say("watch", ids=[job_id])
        assert (await socket.hear())["job"]["status"] == "queued"
        await server.hand.succeed(await server.hand.take())
        assert (await socket.hear())["job"]["status"] == "succeeded"
        assert await socket.is_quiet()


async def test_what_ended_while_the_client_was_away_is_told_when_it_watches_again(server: Server) -> None:
    async with open_socket(server.url) as socket:
        job_id = await socket.submit("r1", body=CHAT)
    await server.hand.succeed(await server.hand.take())
    async with open_socket(server.url) as socket:
        await socket.say("watch", ids=[job_id], ref="again")
        told = await socket.hear()
    assert (told["job"]["id"], told["job"]["status"]) == (job_id, "succeeded")


async def test_a_resubmission_under_its_key_is_accepted_as_the_first_was(server: Server) -> None:
    async with open_socket(server.url) as socket:
        first = await socket.submit("r1", body=CHAT, idempotency_key="k")
    await server.hand.succeed(await server.hand.take())
    async with open_socket(server.url) as socket:
        assert await socket.submit("r2", body=CHAT, idempotency_key="k") == first
        assert (await socket.hear())["job"]["status"] == "succeeded"
    posted = await server.post("/v1/jobs", status=202, json={"body": CHAT}, headers={"idempotency-key": "k"})
    assert posted["id"] == first
    assert len(await server.services.jobs.find(JobQuery(tenant="default"))) == 1


async def test_another_body_under_a_known_key_is_refused(server: Server) -> None:
    async with open_socket(server.url) as socket:
        await socket.submit("r1", body=CHAT, idempotency_key="k")
        await socket.say("submit", ref="r2", job={"body": {**CHAT, "seed": 1}, "idempotency_key": "k"})
        refused = await socket.hear()
    assert (refused["type"], refused["ref"], refused["id"]) == ("error", "r2", None)
    assert refused["error"]["code"] == "idempotency_conflict"


async def test_an_unknown_id_is_an_error_that_names_it_and_the_others_are_told(server: Server) -> None:
    job_id = (await server.submit())["id"]
    async with open_socket(server.url) as socket:
        await socket.say("watch", ids=["job_none", job_id], ref=7)
        refused, told = await socket.hear(), await socket.hear()
    assert (refused["type"], refused["ref"], refused["id"]) == ("error", 7, "job_none")
    assert refused["error"]["code"] == "not_found"
    assert told["job"]["id"] == job_id


async def test_a_job_that_is_watched_no_more_is_not_told(server: Server) -> None:
    job_id = (await server.submit())["id"]
    async with open_socket(server.url) as socket, open_socket(server.url) as other:
        for each in (socket, other):
            await each.say("watch", ids=[job_id])
            await each.hear()
        await socket.say("unwatch", ids=[job_id])
        assert await socket.is_quiet()
        await server.hand.succeed(await server.hand.take())
        assert (await other.hear())["job"]["status"] == "succeeded"
        assert await socket.is_quiet()


async def test_a_cancelled_job_is_told_once(server: Server) -> None:
    async with open_socket(server.url) as socket:
        job_id = await socket.submit("r1", body=CHAT)
        await socket.say("cancel", id=job_id)
        told = await socket.hear()
        assert (told["job"]["id"], told["job"]["status"]) == (job_id, "cancelled")
        assert await socket.is_quiet()
        await socket.say("cancel", ids=["job_none"])
        assert (await socket.hear())["id"] == "job_none"


async def test_a_stream_that_grows_is_not_told_before_its_end(server: Server) -> None:
    async with open_socket(server.url) as socket:
        await socket.submit("r1", body={**CHAT, "stream": True})
        claimed = await server.hand.take()
        for text in ("data: a\n\n", "data: b\n\n"):
            await server.hand.say(claimed, text)
        assert await socket.is_quiet()
        await server.hand.succeed(claimed)
        assert (await socket.hear())["job"]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("text", "ref", "code"),
    [
        ("", None, "invalid_json"),
        ("{", None, "invalid_json"),
        ("[]", None, "invalid_value"),
        ('{"action": "dance", "ref": "r"}', "r", "invalid_value"),
        ('{"action": "watch", "ref": "r", "idz": []}', "r", "unknown_parameter"),
        ('{"action": "watch", "ref": "r"}', "r", "missing_required_parameter"),
        ('{"action": "cancel", "ref": "r"}', "r", "missing_required_parameter"),
        ('{"action": "submit", "ref": "r", "job": {"body": {}, "modell": "x"}}', "r", "unknown_parameter"),
        ('{"action": "submit", "ref": "r", "job": {"body": {"model": "none"}}}', "r", "model_not_found"),
        (json.dumps({"action": "watch", "ids": ["job_1"] * 10_001}), None, "invalid_value"),
        ('{"action": "auth", "key": "fb_late"}', None, "already_authenticated"),
    ],
)
async def test_what_cannot_be_done_is_said_and_the_socket_stays_open(
    server: Server, text: str, ref: str | None, code: str
) -> None:
    async with open_socket(server.url) as socket:
        assert await socket.is_quiet()
        await socket.connection.send(text)
        refused = await socket.hear()
        assert (refused["type"], refused["ref"], refused["error"]["code"]) == ("error", ref, code)
        assert await socket.is_quiet()


async def test_many_submissions_on_one_socket_are_each_accepted_before_their_results(server: Server) -> None:
    count = 200
    async with open_socket(server.url) as socket:
        for number in range(count):
            await socket.say("submit", ref=str(number), job={"body": {**CHAT, "seed": number}})
        accepted: dict[str, str] = {}
        while len(accepted) < count:
            message = await socket.hear()
            assert message["type"] == "accepted"
            accepted[message["id"]] = message["ref"]
        for _ in range(count):
            await server.hand.succeed(await server.hand.take())
        told = {(await socket.hear())["job"]["id"] for _ in range(count)}
    assert told == set(accepted)
    assert sorted(accepted.values()) == sorted(map(str, range(count)))


async def test_a_page_of_another_site_gets_no_socket(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(server.url, additional_headers={"Origin": "https://evil.example"}):
            pass
    assert refusal_in(refused.value) == (403, "forbidden_origin")
    with pytest.raises(aiohttp.WSServerHandshakeError) as rebound:
        async with server.http.ws_connect("/v1/ws", headers={"Host": "evil.example"}):
            pass
    assert rebound.value.status == 403


async def test_a_key_in_the_address_is_refused(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(server.url, "/v1/ws?key=fb_secret"):
            pass
    assert refusal_in(refused.value) == (400, "invalid_value")
    async with open_socket(server.url):  # by now the refused one has come to its end
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def refusal_in(refused: InvalidStatus) -> tuple[int, str]:
    reply = refused.response
    assert reply.headers["x-request-id"].startswith("req_")
    return reply.status_code, json.loads(reply.body or b"")["error"]["code"]


async def test_a_get_without_an_upgrade_is_told_what_stands_there(server: Server) -> None:
    async with server.http.get("/v1/ws") as reply:
        assert (reply.status, reply.headers["upgrade"]) == (426, "websocket")


async def test_an_upgrade_elsewhere_is_a_get_like_any_other(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(server.url, "/v1/nowhere"):
            pass
    assert refused.value.response.status_code == 404


async def test_a_message_beyond_the_bound_closes_the_socket_and_nothing_else(server: Server) -> None:
    async with open_socket(server.url) as socket:
        await socket.connection.send("x" * 2_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    await server.get("/livez")


async def test_a_job_beyond_the_bound_is_refused(server: Server) -> None:
    async with open_socket(server.url) as socket:
        await socket.say("submit", ref="r", job={"body": {**CHAT, "pad": "x" * 1_000_000}})
        assert (await socket.hear())["error"]["code"] == "request_too_large"


async def test_another_public_client_is_served_as_well(server: Server) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(socket_url(server.url)) as socket:
        await socket.send_json({"action": "submit", "ref": "a", "job": {"body": CHAT}})
        assert (await socket.receive_json())["type"] == "accepted"
        await server.hand.succeed(await server.hand.take())
        assert (await socket.receive_json())["job"]["status"] == "succeeded"


async def test_the_protocols_own_ping_is_answered(server: Server) -> None:
    async with open_socket(server.url) as socket:
        assert await (await socket.connection.ping("are you there")) >= 0
