"""The OpenAI-compatible target against the mock model over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from forebay.domain.attempt import Usage
from forebay.domain.inference import Call
from forebay.domain.target import Prices, TargetSpec, TargetType
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient
from forebay.targets.openai_compatible import OpenAiTarget
from forebay.targets.prices import ListPrices
from forebay.testing.mock_model import MockModel, MockOptions

CHAT = "/v1/chat/completions"
BODY = b'{"model":"m", "messages":[{"role":"user","content":"a b c"}]}'


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as running:
        yield running


@pytest.fixture(params=HttpLibrary)
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    client = open_http(request.param)
    yield client
    await client.close()


def target_of(mock: MockModel, http: HttpClient, prices: Prices | None = None) -> OpenAiTarget:
    spec = TargetSpec(name="gpt", type=TargetType.OPENAI, base_url=mock.base_url, api_key="sk-secret", prices=prices)
    return OpenAiTarget(spec, http, ListPrices())


def call_of(body: bytes = BODY, endpoint: str = CHAT, *, is_stream: bool = False) -> Call:
    return Call(job_id="job_1", attempt=2, endpoint=endpoint, body=body, timeout_seconds=60, is_stream=is_stream)


async def test_an_answer_comes_back_verbatim_with_its_usage(mock: MockModel, http: HttpClient) -> None:
    result = await target_of(mock, http).call(call_of())
    assert msgspec.json.decode(result.body)["choices"][0]["message"]["content"] == "echo: a b c"
    assert result.usage == Usage(input_tokens=16, output_tokens=3)
    assert result.status_code == 200
    assert result.request_id == "req_mock_1"


async def test_an_unknown_model_has_no_cost(mock: MockModel, http: HttpClient) -> None:
    assert (await target_of(mock, http).call(call_of())).cost_usd is None


async def test_declared_prices_make_the_cost(mock: MockModel, http: HttpClient) -> None:
    result = await target_of(mock, http, Prices(input=1.0, output=10.0)).call(call_of())
    assert result.cost_usd == pytest.approx((16 + 30) / 1e6)


async def test_upstream_logs_can_be_matched_by_job_id(mock: MockModel, http: HttpClient) -> None:
    await target_of(mock, http).call(call_of())
    assert mock.calls["by_job_id"] == {"job_1": 1}


async def test_speech_comes_back_as_it_is(mock: MockModel, http: HttpClient) -> None:
    body = b'{"model":"tts","input":"hello","voice":"alloy"}'
    result = await target_of(mock, http).call(call_of(body, "/v1/audio/speech"))
    assert result.content_type == "audio/wav"
    assert result.body.startswith(b"RIFF")
    assert result.usage is None


async def test_a_body_of_many_megabytes_is_sent_whole(mock: MockModel, http: HttpClient) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % (b"x" * 3_000_000)
    result = await target_of(mock, http).call(call_of(body))
    assert result.usage is not None
    assert result.usage.input_tokens == -(-len(body) // 4)


async def test_check_asks_for_the_models(mock: MockModel, http: HttpClient) -> None:
    assert await target_of(mock, http).check() == "gpt: reachable, 1 model (mock)"


async def test_a_thousand_calls_at_once_share_the_session(http: HttpClient) -> None:
    async with MockModel(MockOptions(latency_ms=20)) as mock:
        target = target_of(mock, http)
        results = await asyncio.gather(*(target.call(call_of()) for _ in range(1000)))
        assert all(result.status_code == 200 for result in results)
        assert mock.calls["max_in_flight"] > 100


async def test_a_proxy_of_the_environment_is_used(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with MockModel() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        response = await http.get("http://upstream.example/v1/models", {}, 5)
    assert response.status == 404  # the mock is no proxy: it was asked for the absolute address
    assert b"http://upstream.example/v1/models" in response.body


async def test_a_host_excepted_from_the_proxy_is_reached_directly(
    mock: MockModel, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (await target_of(mock, http).call(call_of())).status_code == 200
