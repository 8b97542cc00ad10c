"""Responses whose calls fail: cut streams are told as such and begun again, or end as failed; never spliced."""

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from forebay.testing.mock_model import MockOptions
from tests.integration.test_api_engine import running_house

TEXT = "one two three four five six seven eight nine ten"
CUT = "forebay.attempt_interrupted"


@pytest.fixture(params=[False, True], ids=["native", "chat"])
async def gpt(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[AsyncOpenAI]:
    async with (
        running_house(tmp_path, MockOptions(chat_only=request.param)) as house,
        AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


async def test_a_cut_background_stream_is_told_as_cut_and_begun_again(gpt: AsyncOpenAI) -> None:
    asked = f"[[fault:close-body:1]] {TEXT}"
    events = await gpt.responses.create(model="mock", input=asked, background=True, stream=True)
    told = [event async for event in events]
    types = [event.type for event in told]
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert types.count(CUT) == 1
    cut = types.index(CUT)
    assert "response.output_text.delta" in types[:cut]
    assert (types[cut + 1], types[-1]) == ("response.in_progress", "response.completed")
    said = "".join(event.delta for event in told[cut:] if event.type == "response.output_text.delta")
    final = told[-1].response
    assert said == final.output_text == f"echo: {asked}"
    again = [event.type async for event in await gpt.responses.retrieve(final.id, stream=True, starting_after=cut - 1)]
    assert again == types[cut:]


async def test_a_background_stream_that_said_nothing_yet_begins_again_in_silence(gpt: AsyncOpenAI) -> None:
    events = await gpt.responses.create(model="mock", input="[[fault:500:1]] x", background=True, stream=True)
    types = [event.type async for event in events]
    assert CUT not in types
    assert (types.count("response.in_progress"), types[-1]) == (1, "response.completed")


async def test_a_cut_awaited_stream_ends_as_failed(gpt: AsyncOpenAI) -> None:
    events = await gpt.responses.create(model="mock", input=f"[[fault:close-body]] {TEXT}", stream=True)
    told = [event async for event in events]
    assert told[-1].type == "response.failed"
    failed = await gpt.responses.retrieve(told[-1].response.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.type) == ("server_error", "stream_interrupted")


async def test_a_refusal_before_the_first_event_keeps_its_status(gpt: AsyncOpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError):
        await gpt.responses.create(model="mock", input="[[fault:422]]", stream=True)
    with pytest.raises(openai.UnprocessableEntityError):
        await gpt.responses.create(model="mock", input="[[fault:422]]")


async def test_a_refused_background_response_fails(gpt: AsyncOpenAI) -> None:
    events = await gpt.responses.create(model="mock", input="[[fault:422]]", background=True, stream=True)
    last = [event async for event in events][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "invalid_prompt"


@pytest.mark.parametrize("kind", ["invalid", "truncate"])
async def test_an_answer_that_cant_be_read_is_asked_for_again(gpt: AsyncOpenAI, kind: str) -> None:
    made = await gpt.responses.create(model="mock", input=f"[[fault:{kind}:1]] x")
    assert made.status == "completed"
