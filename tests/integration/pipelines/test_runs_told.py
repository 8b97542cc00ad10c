"""Who is told of a run: the addresses that its steps name, and the endpoints that hear of its end."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.integration.pipelines.house import opened

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PIPELINES = """
  weekly:
    steps:
      load: {read: one.csv}
      tell: {notify: {webhook: "%s/step", data: {rows: "{load}", of: "{run.pipeline}"}}}
"""


class Receiver:
    """Keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[tuple[str, dict[str, str], bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/{any}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


async def test_a_step_tells_an_address_and_a_runs_end_tells_the_endpoints(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "one.csv").write_text("id\n7\n")
    notify = f'notify: {{webhooks: [{{url: "{receiver.url}/end", secret: "{SECRET}", events: ["run.*"]}}]}}'
    async with opened(tmp_path, PIPELINES % receiver.url, f"webhook_allow: [127.0.0.0/8]\n{notify}") as house:
        view = await house.run("weekly")
        assert view["error"] is None
        await house.worker.run_until_idle()
    heard = {path: (headers, body) for path, headers, body in receiver.heard}
    assert set(heard) == {"/step", "/end"}
    headers, body = heard["/end"]
    ended: Any = Webhook(SECRET).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
    assert ended["type"] == "run.succeeded"
    assert ended["data"] == {"id": view["id"]}
    step = json.loads(heard["/step"][1])
    assert step["type"] == "run.step"
    assert step["data"] == {
        "id": view["id"],
        "pipeline": "weekly",
        "step": "tell",
        "data": {"rows": [{"id": "7"}], "of": "weekly"},
    }
    assert step["id"] == view["steps"]["tell"]["output"]["value"]["event_id"]


async def test_an_address_that_may_not_be_reached_fails_its_step(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "one.csv").write_text("id\n7\n")
    async with opened(tmp_path, PIPELINES % receiver.url) as house:
        view = await house.run("weekly")
    assert view["steps"]["tell"]["error"]["code"] == "webhook_url_refused"
    assert receiver.heard == []
