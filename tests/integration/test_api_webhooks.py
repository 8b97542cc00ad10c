"""``/v1/webhook_endpoints`` and ``/v1/webhook_deliveries`` by the official client, with a receiver on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from forebay.domain.webhook import MOST_ENDPOINTS
from forebay.policy.events import EVENT_TYPES

from .batch_house import House, request, running_house

LOOPBACK = (ip_network("127.0.0.0/8"),)
CHAT = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
PATIENCE_SECONDS = 60.0


@dataclass
class Receiver:
    """Where deliveries arrive. ``statuses``: its answers, the last one for ever."""

    url: str = ""
    retry_after: str = "0"
    statuses: list[int] = field(default_factory=lambda: [204])
    got: "asyncio.Queue[tuple[dict[str, str], bytes]]" = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.got.put_nowait((headers, body))
        return web.Response(status=status, headers={"Retry-After": self.retry_after})

    async def next(self) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.got.get()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    receiver.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path, webhook_allow=LOOPBACK) as made:
        yield made


async def submit(house: House, status: int = 202, **fields: Any) -> dict[str, Any]:
    async with house.http.post("/v1/jobs", json={"body": CHAT, **fields}) as reply:
        assert reply.status == status, await reply.text()
        return await reply.json()


async def listed(house: House, expected: int = 200, **params: Any) -> Any:
    async with house.http.get("/v1/webhook_deliveries", params=params) as reply:
        assert reply.status == expected, await reply.text()
        return await reply.json()


async def sent_again(house: House, delivery_id: str, status: int = 202) -> Any:
    async with house.http.post(f"/v1/webhook_deliveries/{delivery_id}/retry") as reply:
        assert reply.status == status, await reply.text()
        return await reply.json()


async def delivered(house: House, count: int = 1, **params: Any) -> list[dict[str, Any]]:
    """Waits until so many deliveries have ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            page = await listed(house, status="succeeded,failed", **params)
            if len(page["data"]) >= count:
                return page["data"]
            await asyncio.sleep(0.005)


async def test_the_official_client_manages_endpoints(house: House, receiver: Receiver) -> None:
    hooks = house.openai.webhooks
    made = await hooks.create(name="ops", url=receiver.url, event_types=["batch.completed", "response.failed"])
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == "whsec_…" + made.signing_secret[-4:]
    read = await hooks.retrieve(made.id)
    assert (read.name, read.url, read.event_types) == ("ops", receiver.url, ["batch.completed", "response.failed"])
    assert not hasattr(read, "signing_secret")
    changed = await hooks.update(made.id, name="ops 2", event_types=["batch.failed"])
    assert (changed.name, changed.url, changed.event_types) == ("ops 2", receiver.url, ["batch.failed"])
    other = await hooks.create(name="other", url=receiver.url, event_types=["batch.failed"])
    assert [one.id async for one in hooks.list(limit=1)] == [other.id, made.id]
    gone = await hooks.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "webhook_endpoint.deleted")
    for refused in (hooks.retrieve(made.id), hooks.delete(made.id), hooks.update(made.id, name="x")):
        with pytest.raises(openai.NotFoundError):
            await refused
    assert (await hooks.event_types.list()).data == list(EVENT_TYPES)


async def test_a_batch_s_end_is_unwrapped_by_the_official_client(house: House, receiver: Receiver) -> None:
    endpoint = await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    batch = await house.batch(request("a") + request("b"))
    headers, body = await receiver.next()
    event: Any = house.openai.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id, event.id) == ("batch.completed", batch.id, headers["webhook-id"])
    [delivery] = await delivered(house)
    assert (delivery["event_id"], delivery["event_type"]) == (event.id, "batch.completed")
    assert (delivery["endpoint_id"], delivery["job_id"]) == (endpoint.id, batch.id.replace("batch_", "job_"))
    assert [one["status_code"] for one in delivery["attempts"]] == [204]


async def test_a_background_response_s_end_is_told(house: House, receiver: Receiver) -> None:
    endpoint = await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["response.completed"])
    made = await house.openai.responses.create(model="mock", input="hello", background=True)
    headers, body = await receiver.next()
    event: Any = house.openai.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id) == ("response.completed", made.id)


async def test_a_job_has_itself_sent_signed_with_the_tenant_s_secret(house: House, receiver: Receiver) -> None:
    notify = {"webhook": receiver.url, "include": "job", "events": ["job.*"]}
    job = await submit(house, notify=notify)
    headers, body = await receiver.next()
    async with house.http.get("/v1/webhook_secret") as reply:
        secret = (await reply.json())["signing_secret"]
    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]["id"], event["data"]["object"]) == ("job.succeeded", job["id"], "job")
    assert event["data"]["result"]["body"]["choices"]
    async with house.http.post("/v1/webhook_secret/rotate", json={}) as reply:
        rotated = (await reply.json())["signing_secret"]
    await submit(house, notify={"webhook": receiver.url})
    headers, body = await receiver.next()
    assert set(Webhook(rotated).verify(body, headers)["data"]) == {"id"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


async def test_every_line_of_a_bulk_may_name_an_address(house: House, receiver: Receiver) -> None:
    good = json.dumps({"body": CHAT, "notify": {"webhook": receiver.url}})
    bad = json.dumps({"body": CHAT, "notify": {"webhook": "http://10.0.0.1/x"}})
    async with house.http.post("/v1/jobs/bulk", data=f"{good}\n{bad}\n") as reply:
        first, second = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert second["error"]["code"] == "webhook_url_refused"
    _, body = await receiver.next()
    assert json.loads(body)["data"] == {"id": first["id"]}


@pytest.mark.parametrize(
    ("notify", "param"),
    [
        ({"webhook": "http://169.254.169.254/latest"}, "notify.webhook"),
        ({"webhook": "ftp://example.com"}, "notify.webhook"),
        ({"webhook": "http://[::1]/"}, "notify.webhook"),
        ({}, "notify.webhook"),
        ({"webhook": "http://127.0.0.1/", "events": ["job.done"]}, "notify.events"),
        ({"webhook": "http://127.0.0.1/", "events": ["batch.completed"]}, "notify.events"),
        ({"webhook": "http://127.0.0.1/", "include": "all"}, "notify.include"),
        ({"webhook": "http://127.0.0.1/", "secret": "x"}, "notify.secret"),
    ],
)
async def test_a_notify_that_can_t_be_kept_is_refused(house: House, notify: dict[str, Any], param: str) -> None:
    assert (await submit(house, 400, notify=notify))["error"]["param"] == param


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://10.0.0.1/x"},
        {"url": "https://user:pass@127.0.0.1/"},
        {"url": "nonsense"},
        {"event_types": []},
        {"event_types": ["batch.done"]},
        {"event_types": ["fine_tuning.job.succeeded"]},
        {"name": ""},
    ],
)
async def test_an_endpoint_that_can_t_be_served_is_refused(house: House, fields: dict[str, Any]) -> None:
    asked = {"name": "x", "url": "http://127.0.0.1:9/", "event_types": ["batch.*"], **fields}
    async with house.http.post("/v1/webhook_endpoints", json=asked) as reply:
        assert (reply.status, (await reply.json())["error"]["param"]) == (400, next(iter(fields)))
    assert [one async for one in house.openai.webhooks.list()] == []


async def test_a_tenant_has_a_bounded_number_of_endpoints(house: House, receiver: Receiver) -> None:
    for _ in range(MOST_ENDPOINTS):
        await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.failed"])
    with pytest.raises(openai.BadRequestError, match="at most"):
        await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.failed"])


async def test_a_sample_is_sent_at_once(house: House, receiver: Receiver) -> None:
    hooks = house.openai.webhooks
    endpoint = await hooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    receiver.statuses = [500]
    told = await hooks.test(endpoint.id, event_type="response.incomplete")
    assert (told.status_code, told.success, told.webhook_endpoint_id) == (500, True, endpoint.id)
    headers, body = await receiver.next()
    event: Any = hooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert event.type == "response.incomplete"
    with pytest.raises(openai.BadRequestError):
        await hooks.test(endpoint.id, event_type="eval.run.failed")
    nobody = await hooks.create(name="x", url="http://127.0.0.1:9/", event_types=["batch.completed"])
    with pytest.raises(openai.BadRequestError, match="not delivered"):
        await hooks.test(nobody.id, event_type="batch.failed")


async def test_a_rotated_secret_is_valid_at_once_and_the_old_one_for_a_day_if_asked(
    house: House, receiver: Receiver
) -> None:
    hooks = house.openai.webhooks
    endpoint = await hooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    kept = await hooks.rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True)
    await hooks.test(endpoint.id, event_type="batch.completed")
    headers, body = await receiver.next()
    for secret in (endpoint.signing_secret, kept.signing_secret):
        assert hooks.unwrap(body, headers, secret=secret)
    last = await hooks.rotate_secret(endpoint.id)
    await hooks.test(endpoint.id, event_type="batch.completed")
    headers, body = await receiver.next()
    assert hooks.unwrap(body, headers, secret=last.signing_secret)
    for secret in (endpoint.signing_secret, kept.signing_secret):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            hooks.unwrap(body, headers, secret=secret)


async def test_no_secret_stands_in_the_store(house: House, receiver: Receiver, tmp_path: Path) -> None:
    endpoint = await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    secret = endpoint.signing_secret.removeprefix("whsec_").encode()
    assert secret not in b"".join(_files(tmp_path))


def _files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_what_was_taken_can_be_sent_once_more_under_its_id(house: House, receiver: Receiver) -> None:
    job = await submit(house, notify={"webhook": receiver.url})
    first = await receiver.next()
    [delivery] = await delivered(house)
    again = await sent_again(house, delivery["id"])
    assert (again["resend_of"], again["event_id"]) == (delivery["id"], delivery["event_id"])
    headers, body = await receiver.next()
    assert (headers["webhook-id"], body) == (first[0]["webhook-id"], first[1])
    found = await delivered(house, 2, job_id=job["id"])
    assert [one["id"] for one in found] == [again["id"], delivery["id"]]


async def test_a_delivery_that_nobody_took_is_a_dead_letter_that_can_be_sent_again(
    house: House, receiver: Receiver
) -> None:
    endpoint = await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    receiver.statuses = [410, 204]
    batch = await house.batch(request("a"))
    await receiver.next()
    [dead] = await delivered(house)
    assert (dead["status"], dead["error"]["code"]) == ("failed", "webhook_refused")
    async with house.http.get("/v1/dead-letters") as reply:
        assert [one["id"] for one in (await reply.json())["data"]] == [dead["id"]]
    off: Any = await house.openai.webhooks.retrieve(endpoint.id)
    assert (off.enabled, "410" in off.disabled_reason) == (False, True)
    await house.http.post(f"/v1/webhook_endpoints/{endpoint.id}", json={"enabled": True})
    async with house.http.post("/v1/dead-letters/retry", json={"ids": [dead["id"]]}) as reply:
        assert (await reply.json())["retried"] == 1
    _, body = await receiver.next()
    assert json.loads(body)["data"] == {"id": batch.id}


async def test_a_delivery_that_waits_for_its_next_try_can_be_sent_at_once(house: House, receiver: Receiver) -> None:
    receiver.statuses, receiver.retry_after = [503, 204], "3600"
    await submit(house, notify={"webhook": receiver.url})
    first, _ = await receiver.next()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (waiting := (await listed(house, status="queued"))["data"]) or not waiting[0]["attempt_count"]:
            await asyncio.sleep(0.005)
    assert (await sent_again(house, waiting[0]["id"]))["id"] == waiting[0]["id"]
    again, _ = await receiver.next()
    assert again["webhook-id"] == first["webhook-id"]
    [delivery] = await delivered(house)
    tries = [(one["number"], one["status_code"]) for one in delivery["attempts"]]
    assert (delivery["id"], delivery["status"], tries) == (waiting[0]["id"], "succeeded", [(1, 503), (2, 204)])


async def test_deliveries_are_listed_by_page_and_filter(house: House, receiver: Receiver) -> None:
    endpoint = await house.openai.webhooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    jobs = [(await submit(house, notify={"webhook": receiver.url}))["id"] for _ in range(3)]
    await house.batch(request("a"))
    everything = [one["id"] for one in await delivered(house, 4)]
    pages: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = await listed(house, **params)
        pages += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        params["after"] = page["last_id"]
    assert pages == everything
    assert len((await listed(house, endpoint_id=endpoint.id))["data"]) == 1
    assert [one["job_id"] for one in (await listed(house, job_id=jobs[1]))["data"]] == [jobs[1]]
    assert (await listed(house, status="failed"))["data"] == []
    assert (await listed(house, created_before=1))["data"] == []
    assert (await listed(house, 400, colour="red"))["error"]["param"] == "colour"
    async with house.http.get("/v1/jobs") as reply:
        assert {one["kind"] for one in (await reply.json())["data"]} == {"infer", "batch"}


async def test_a_job_is_no_delivery_and_a_queued_delivery_is_on_its_way(tmp_path: Path, receiver: Receiver) -> None:
    async with running_house(tmp_path, is_working=False, webhook_allow=LOOPBACK) as house:
        job = await submit(house, notify={"webhook": receiver.url})
        await sent_again(house, job["id"], 404)
        async with house.http.post(f"/v1/jobs/{job['id']}/cancel") as reply:
            assert reply.status == 200
        [queued] = (await listed(house))["data"]
        assert (queued["status"], queued["event_type"]) == ("queued", "job.cancelled")
        await sent_again(house, queued["id"], 409)


async def test_metrics_have_one_label_for_all_deliveries(tmp_path: Path, receiver: Receiver) -> None:
    async with running_house(tmp_path, is_working=False, webhook_allow=LOOPBACK) as house:
        for path in ("a", "b"):
            job = await submit(house, notify={"webhook": receiver.url + path})
            await house.http.post(f"/v1/jobs/{job['id']}/cancel")
        async with house.http.get("/metrics") as reply:
            text = await reply.text()
        assert 'forebay_queue_depth{lane="notify",target=""} 2.0' in text
        assert receiver.url not in text
        assert "url_" not in text


async def test_another_tenant_s_endpoints_and_deliveries_are_not_there(house: House, receiver: Receiver) -> None:
    async def client(tenant: str) -> AsyncOpenAI:
        body = {"name": tenant, "tenant": tenant, "scopes": ["submit", "read", "admin"]}
        async with house.http.post("/v1/keys", json=body, headers=auth) as reply:
            assert reply.status < 300, await reply.text()
            return AsyncOpenAI(base_url=f"{house.url}/v1", api_key=(await reply.json())["key"], max_retries=0)

    auth: dict[str, str] = {}
    admin = await client("default")
    auth["authorization"] = f"Bearer {admin.api_key}"
    ours, theirs = await client("ours"), await client("theirs")
    endpoint = await ours.webhooks.create(name="x", url=receiver.url, event_types=["batch.completed"])
    assert [one async for one in theirs.webhooks.list()] == []
    for refused in (theirs.webhooks.retrieve(endpoint.id), theirs.webhooks.delete(endpoint.id)):
        with pytest.raises(openai.NotFoundError):
            await refused
    headers = {"authorization": f"Bearer {theirs.api_key}"}
    async with house.http.post("/v1/jobs", json={"body": CHAT}, headers=headers) as reply:
        assert reply.status == 202
    headers = {"authorization": f"Bearer {ours.api_key}"}
    own = {"body": CHAT, "notify": {"webhook": receiver.url}}
    async with house.http.post("/v1/jobs", json=own, headers=headers) as reply:
        assert reply.status == 202
    await receiver.next()
    async with house.http.get("/v1/webhook_deliveries", headers=headers) as reply:
        [delivery] = (await reply.json())["data"]
    headers = {"authorization": f"Bearer {theirs.api_key}"}
    async with house.http.get("/v1/webhook_deliveries", headers=headers) as reply:
        assert (await reply.json())["data"] == []
    async with house.http.post(f"/v1/webhook_deliveries/{delivery['id']}/retry", headers=headers) as reply:
        assert reply.status == 404
    for each in (admin, ours, theirs):
        await each.close()
