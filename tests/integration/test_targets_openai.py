"""The OpenAI-compatible target against the mock model over real sockets."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from forebay.domain.attempt import Usage
from forebay.domain.inference import Call
from forebay.domain.target import Prices, TargetSpec, TargetType
from forebay.targets.aiohttp_client import AiohttpClient
from forebay.targets.openai_compatible import OpenAiTarget
from forebay.targets.prices import ListPrices
from forebay.testing.mock_model import MockModel

CHAT = "/v1/chat/completions"
BODY = b'{"model":"m", "messages":[{"role":"user","content":"a b c"}]}'


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


def target_of(mock: MockModel, http: AiohttpClient, prices: Prices | None = None) -> OpenAiTarget:
    spec = TargetSpec(name="gpt", type=TargetType.OPENAI, base_url=mock.base_url, api_key="sk-secret", prices=prices)
    return OpenAiTarget(spec, http, ListPrices())


def call_of(body: bytes = BODY, endpoint: str = CHAT, *, is_stream: bool = False) -> Call:
    return Call(job_id="job_1", attempt=2, endpoint=endpoint, body=body, timeout_seconds=5, is_stream=is_stream)


async def test_an_answer_comes_back_verbatim_with_its_usage(mock: MockModel, http: AiohttpClient) -> None:
    result = await target_of(mock, http).call(call_of())
    assert msgspec.json.decode(result.body)["choices"][0]["message"]["content"] == "echo: a b c"
    assert result.usage == Usage(input_tokens=16, output_tokens=3)
    assert result.status_code == 200
    assert result.request_id == "req_mock_1"


async def test_an_unknown_model_has_no_cost(mock: MockModel, http: AiohttpClient) -> None:
    assert (await target_of(mock, http).call(call_of())).cost_usd is None


async def test_declared_prices_make_the_cost(mock: MockModel, http: AiohttpClient) -> None:
    result = await target_of(mock, http, Prices(input=1.0, output=10.0)).call(call_of())
    assert result.cost_usd == pytest.approx((16 + 30) / 1e6)


async def test_upstream_logs_can_be_matched_by_job_id(mock: MockModel, http: AiohttpClient) -> None:
    await target_of(mock, http).call(call_of())
    assert mock.calls["by_job_id"] == {"job_1": 1}
