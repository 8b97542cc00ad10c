"""What the Python client makes of servers that answer anything: a view, or one of its own exceptions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import forebay
from forebay.domain.errors import ForebayError
from tests.fuzz.strategies import JSON_OBJECTS, JSON_VALUES, damaged, fuzz, raw_json

VIEW = b'{"id": "job_1", "object": "job", "status": "succeeded", "metadata": {}, "usage": null, "attempts": []}'
REPLIES = st.tuples(
    st.sampled_from([200, 202, 204, 400, 404, 409, 413, 429, 500]),
    damaged(st.just(VIEW))
    | st.builds(lambda error: ('{"error": ' + error + "}").encode(), raw_json())
    | raw_json().map(str.encode)
    | st.binary(max_size=30),
)


class Answers:
    """A server that gives one reply to everything."""

    def __init__(self) -> None:
        self.status, self.body = 200, VIEW

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def outcome(call: Any) -> Any:
    """What a call gave, or the exception of ours that it raised; any other is the test's failure."""
    try:
        return await call
    except ForebayError as error:
        return error


@pytest.mark.parametrize("status", [200, 404, 409, 500])
async def test_a_reply_that_is_no_json_is_told_in_a_sentence(status: int) -> None:
    answers = Answers()
    answers.status, answers.body = status, b"<html>a proxy's page</html>"
    async with serving(answers) as url, forebay.AsyncClient(url) as client:
        assert isinstance(await outcome(client.jobs.get("job_1")), ForebayError)
        assert isinstance(await outcome(client.batches.get("batch_1")), ForebayError)
        assert isinstance(await outcome(client.jobs.submit_many([{"body": {}}])), ForebayError)


@fuzz(10)
@given(st.lists(REPLIES, min_size=1, max_size=8), JSON_OBJECTS, JSON_VALUES)
async def test_any_reply_is_a_view_or_an_exception_of_ours(
    replies: list[tuple[int, bytes]], fields: dict[str, Any], value: Any
) -> None:
    answers = Answers()
    async with serving(answers) as url, forebay.AsyncClient(url) as client:
        for answers.status, answers.body in replies:
            await outcome(client.jobs.get("job_1"))
            await outcome(client.jobs.list())
            await outcome(client.jobs.cancel("job_1"))
            await outcome(client.files.create(b"x"))
            await outcome(client.batches.cancel("batch_1"))
            await outcome(client.jobs.submit_many([{"body": {}}]))
            await outcome(_all(client.batches.results("batch_1")))


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
