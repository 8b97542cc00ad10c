"""The Anthropic target against the mock model over real sockets."""

import asyncio

import msgspec
import pytest

from forebay.domain.errors import TargetRejected, TargetUnavailable
from forebay.domain.inference import Call
from forebay.domain.target import Prices, TargetSpec, TargetType
from forebay.targets.build import build_targets
from forebay.testing.mock_model import MockModel, MockOptions

PRICES = Prices(input=3.0, output=15.0)


def call_of(text: str = "hi") -> Call:
    body = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return Call(
        job_id="j",
        attempt=1,
        endpoint="/v1/messages",
        body=msgspec.json.encode(body),
        timeout_seconds=60,
        model="claude",
    )


def spec_of(base_url: str, api_key: str = "k") -> TargetSpec:
    return TargetSpec(name="claude", type=TargetType.ANTHROPIC, base_url=base_url, api_key=api_key, prices=PRICES)


@pytest.mark.parametrize("with_version", [True, False])
async def test_a_message_comes_back_with_usage_and_cost(*, with_version: bool) -> None:
    async with MockModel(MockOptions(api_key="k")) as mock:
        spec = spec_of(mock.base_url if with_version else mock.url)
        async with build_targets([spec]) as targets:
            result = await targets["claude"].call(call_of())
    assert msgspec.json.decode(result.body)["content"][0]["text"] == "echo: hi"
    assert result.usage is not None
    expected = (result.usage.input_tokens * 3 + result.usage.output_tokens * 15) / 1e6
    assert result.cost_usd == pytest.approx(expected)


async def test_a_wrong_key_is_rejected_with_the_vendors_reason_and_without_the_key() -> None:
    async with MockModel(MockOptions(api_key="k")) as mock, build_targets([spec_of(mock.url, "wrong-key")]) as targets:
        with pytest.raises(TargetRejected, match="the API key is missing or wrong") as caught:
            await targets["claude"].call(call_of())
    assert "wrong-key" not in str(caught.value)


async def test_an_overloaded_service_is_unavailable() -> None:
    async with MockModel() as mock, build_targets([spec_of(mock.url)]) as targets:
        with pytest.raises(TargetUnavailable):
            await targets["claude"].call(call_of("[[fault:529]]"))


async def test_the_version_and_the_key_are_sent_in_anthropics_headers() -> None:
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nrequest-id: r1\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with build_targets([spec_of(url)]) as targets:
            result = await targets["claude"].call(call_of())
    assert "\r\nx-api-key: k\r\n" in heads[0]
    assert "\r\nanthropic-version: 2023-06-01\r\n" in heads[0]
    assert "authorization" not in heads[0]
    assert result.request_id == "r1"
    assert result.usage is None
