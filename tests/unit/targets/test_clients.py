"""Which HTTP client is made, and what is told where there is none."""

import sys

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.aiohttp_client import AiohttpClient
from forebay.targets.build import build_targets
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.wreq_client import WreqClient


async def test_the_chosen_library_is_used() -> None:
    for library, kind in {HttpLibrary.WREQ: WreqClient, HttpLibrary.AIOHTTP: AiohttpClient}.items():
        client = open_http(library)
        assert type(client) is kind
        await client.close()


async def test_a_library_that_is_missing_is_told_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "forebay.targets.wreq_client")
    monkeypatch.setitem(sys.modules, "wreq", None)
    with pytest.raises(ConfigurationError, match=r"http_client: wreq is not installed here.*choose aiohttp"):
        open_http()
    spec = TargetSpec(name="gpt", type=TargetType.OPENAI, base_url="http://h/v1")
    async with build_targets([spec], library=HttpLibrary.AIOHTTP) as targets:
        assert targets["gpt"].name == "gpt"
