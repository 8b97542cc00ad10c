"""OpenAI's own client and Responses: a server, a worker, a model behind them that speaks Responses or chat alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from forebay.testing.mock_model import MockOptions
from tests.integration.test_api_engine import House, running_house

PATIENCE_SECONDS = 120.0


@pytest.fixture(params=[False, True], ids=["native", "chat"])
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with running_house(tmp_path, MockOptions(chat_only=request.param)) as running:
        yield running


@pytest.fixture
async def gpt(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as client:
        yield client


async def ended(gpt: AsyncOpenAI, response: Response) -> Response:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while response.status in {"queued", "in_progress"}:
            response = await gpt.responses.retrieve(response.id)
    return response


def hold(house: House, after: int | None) -> None:
    """The model gives no more answers, or gives them again."""
    house.mock.options = msgspec.structs.replace(house.mock.options, hold_after=after)


async def numbered(events: Any) -> list[tuple[int, str]]:
    return [(event.sequence_number, event.type) async for event in events]


async def test_an_awaited_response_is_retrieved_later_under_an_id_of_ours(gpt: AsyncOpenAI, house: House) -> None:
    made = await gpt.responses.create(model="mock", input="hello", metadata={"a": "b"})
    assert (made.status, made.output_text, made.background) == ("completed", "echo: hello", False)
    assert made.id.startswith("resp_0")
    assert made.usage is not None
    assert made.usage.total_tokens > 0
    assert await gpt.responses.retrieve(made.id) == made


async def test_a_background_response_is_answered_at_once_and_ends(gpt: AsyncOpenAI) -> None:
    made = await gpt.responses.create(model="mock", input="hello", background=True)
    assert (made.status, made.background, made.output) == ("queued", True, [])
    done = await ended(gpt, made)
    assert (done.id, done.status, done.output_text) == (made.id, "completed", "echo: hello")
    assert done.created_at == made.created_at


async def test_a_background_stream_is_told_again_from_any_event_on(gpt: AsyncOpenAI) -> None:
    told, named = [], ""
    async for event in await gpt.responses.create(model="mock", input="a b", background=True, stream=True):
        told.append((event.sequence_number, event.type))
        if event.type == "response.created":
            named = event.response.id
    assert [number for number, _ in told] == list(range(len(told)))
    assert [kind for _, kind in told][:3] == ["response.created", "response.queued", "response.in_progress"]
    assert told[-1][1] == "response.completed"
    for after in range(-1, len(told)):
        given = {} if after < 0 else {"starting_after": after}
        assert await numbered(await gpt.responses.retrieve(named, stream=True, **given)) == told[after + 1 :]


async def test_an_awaited_stream_adds_up_to_its_response(gpt: AsyncOpenAI) -> None:
    async with gpt.responses.stream(model="mock", input="one two three") as events:
        text = "".join([event.delta async for event in events if event.type == "response.output_text.delta"])
        final = await events.get_final_response()
    assert text == final.output_text == "echo: one two three"
    assert (await gpt.responses.retrieve(final.id)).output_text == text


async def test_a_response_that_was_not_streamed_is_told_as_events_all_the_same(gpt: AsyncOpenAI) -> None:
    done = await ended(gpt, await gpt.responses.create(model="mock", input="a b", background=True))
    told = await numbered(await gpt.responses.retrieve(done.id, stream=True))
    assert [number for number, _ in told] == list(range(len(told)))
    assert told[-1][1] == "response.completed"
    assert "response.output_text.delta" in [kind for _, kind in told]


async def test_a_parsed_response_fits_its_type(gpt: AsyncOpenAI) -> None:
    class Answer(BaseModel):
        name: str
        count: int

    parsed = await gpt.responses.parse(model="mock", input="x", text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)


async def test_a_conversation_goes_on_from_the_response_before(gpt: AsyncOpenAI, house: House) -> None:
    first = await gpt.responses.create(model="mock", input="one")
    second = await gpt.responses.create(model="mock", input="two", previous_response_id=first.id)
    third = await gpt.responses.create(model="mock", input="three", previous_response_id=second.id, background=True)
    assert (third.previous_response_id, (await ended(gpt, third)).output_text) == (second.id, "echo: three")
    items = [item async for item in gpt.responses.input_items.list(third.id, order="asc", limit=2)]
    texts = [item.content[0].text for item in items if item.type == "message"]
    assert texts == ["one", "echo: one", "two", "echo: two", "three"]
    await gpt.responses.delete(second.id)
    with pytest.raises(openai.BadRequestError) as refused:
        await gpt.responses.create(model="mock", input="four", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"


async def test_a_cancelled_response_stays_cancelled(gpt: AsyncOpenAI, house: House) -> None:
    hold(house, 0)
    made = await gpt.responses.create(model="mock", input="x", background=True, stream=False)
    assert (await gpt.responses.cancel(made.id)).status == "cancelled"
    assert (await gpt.responses.cancel(made.id)).status == "cancelled"
    told = await numbered(await gpt.responses.retrieve(made.id, stream=True))
    assert told[-1][1] == "response.cancelled"
    hold(house, None)
    done = await ended(gpt, await gpt.responses.create(model="mock", input="x", background=True))
    assert await gpt.responses.cancel(done.id) == done
    whole = await gpt.responses.create(model="mock", input="x")
    with pytest.raises(openai.BadRequestError):
        await gpt.responses.cancel(whole.id)


async def test_a_deleted_response_is_gone(gpt: AsyncOpenAI, house: House) -> None:
    done = await gpt.responses.create(model="mock", input="x")
    async with house.http.delete(f"/v1/responses/{done.id}") as reply:
        assert await reply.json() == {"id": done.id, "object": "response", "deleted": True}
    hold(house, 0)
    live = await gpt.responses.create(model="mock", input="x", background=True)
    await gpt.responses.delete(live.id)
    for named in (done.id, live.id, "resp_0"):
        with pytest.raises(openai.NotFoundError):
            await gpt.responses.retrieve(named)
        with pytest.raises(openai.NotFoundError):
            await gpt.responses.delete(named)


async def test_an_awaited_response_that_is_not_to_be_stored_is_not_found(gpt: AsyncOpenAI) -> None:
    made = await gpt.responses.create(model="mock", input="x", store=False)
    assert made.output_text == "echo: x"
    with pytest.raises(openai.NotFoundError):
        await gpt.responses.retrieve(made.id)


async def test_the_lines_of_a_batch_are_answered_as_responses(gpt: AsyncOpenAI) -> None:
    bodies = [{"model": "mock", "input": "one"}, {"model": "mock", "input": [{"type": "item_reference", "id": "x"}]}]
    lines = [
        json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/responses", "body": body})
        for number, body in enumerate(bodies)
    ]
    file = await gpt.files.create(file=("requests.jsonl", "\n".join(lines).encode()), purpose="batch")
    made = await gpt.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (batch := await gpt.batches.retrieve(made.id)).status != "completed":
            await asyncio.sleep(0.01)
    assert batch.output_file_id is not None
    output = (await gpt.files.content(batch.output_file_id)).text
    answers = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, output.splitlines())}
    assert Response.model_validate(answers["0"]).output_text == "echo: one"


async def test_the_clients_own_helper_joins_a_stream_that_runs(gpt: AsyncOpenAI) -> None:
    made = await gpt.responses.create(model="mock", input="one two", background=True, stream=True)
    told = [event async for event in made]
    named = told[0].response.id
    async with gpt.responses.stream(response_id=named, starting_after=4) as events:
        numbers = [event.sequence_number async for event in events]
        final = await events.get_final_response()
    assert numbers == [event.sequence_number for event in told[5:]]
    assert final.output_text == "echo: one two"


async def test_the_model_is_asked_in_the_way_it_speaks(gpt: AsyncOpenAI, house: House) -> None:
    for _ in range(2):
        await gpt.responses.create(model="mock", input="x")
    path = "/chat/completions" if house.mock.options.chat_only else "/responses"
    assert house.mock.calls["by_endpoint"] == {path: 2}
