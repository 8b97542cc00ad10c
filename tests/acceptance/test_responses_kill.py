"""A server that dies in mid-stream: its background responses are told on where their readers were, by the next one."""

from pathlib import Path
from typing import Any

import msgspec
from openai import AsyncOpenAI

from forebay.testing.mock_model import MockModel, MockOptions
from tests.acceptance.faults_support import configure
from tests.acceptance.processes import started

WORDS = " ".join(f"w{number}" for number in range(400))
SLOW = MockOptions(stream_interval_ms=250.0)  # 100 s for the whole of it: the first attempt never ends by itself
CUT = "forebay.attempt_interrupted"


def client(address: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)


async def test_a_stream_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    told: list[Any] = []
    async with MockModel(SLOW) as mock:
        configure(tmp_path, mock.base_url)
        async with started("serve", "--port", "0", folder=tmp_path) as first, client(first.address) as gpt:
            async for event in await gpt.responses.create(model="mock", input=WORDS, background=True, stream=True):
                told.append(event)
                if len([one for one in told if one.type == "response.output_text.delta"]) == 2:
                    break
            named = told[0].response.id
            await first.kill()
        mock.options = msgspec.structs.replace(SLOW, stream_interval_ms=0.0)
        async with started("serve", "--port", "0", folder=tmp_path) as second, client(second.address) as gpt:
            last = told[-1].sequence_number
            told += [event async for event in await gpt.responses.retrieve(named, stream=True, starting_after=last)]
            whole = await gpt.responses.retrieve(named, stream=True)
            again = [(event.sequence_number, event.type) async for event in whole]
            final = await gpt.responses.retrieve(named)
    types = [event.type for event in told]
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert again == [(event.sequence_number, event.type) for event in told]
    assert (types.count(CUT), types[-1]) == (1, "response.completed")
    said = [event.delta for event in told[types.index(CUT) :] if event.type == "response.output_text.delta"]
    assert "".join(said) == final.output_text == f"echo: {WORDS}"
