"""Targets of type ``local``: the model server is started at the first call, and its address may change."""

import asyncio

import pytest

from forebay.domain.errors import ConfigurationError, TargetTimeout, TargetUnavailable
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.aiohttp_client import AiohttpClient
from forebay.targets.build import Surroundings, build_target, build_targets
from forebay.testing.mock_model import MockModel, MockOptions

SPEC = TargetSpec(name="local", type=TargetType.LOCAL, model="smollm2")
BODY = b'{"model":"smollm2","messages":[{"role":"user","content":"hi"}]}'


class Starter:
    """Says where the model is, as the runner of local servers does."""

    def __init__(self, base_url: str = "", failure: Exception | None = None, *, is_slow: bool = False) -> None:
        self.base_url = base_url
        self.failure = failure
        self.is_slow = is_slow
        self.asked: list[str] = []

    async def address(self, model: str) -> tuple[str, str]:
        self.asked.append(model)
        if self.is_slow:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return self.base_url, "k"


def call_of(timeout_seconds: float = 60, endpoint: str = "/v1/chat/completions") -> Call:
    return Call(job_id="j", attempt=1, endpoint=endpoint, body=BODY, timeout_seconds=timeout_seconds, model="smollm2")


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/messages"])
async def test_the_first_call_starts_the_model_and_costs_nothing(endpoint: str) -> None:
    async with MockModel(MockOptions(api_key="k")) as mock:
        starter = Starter(mock.base_url)
        async with build_targets([SPEC], around=Surroundings(local=starter)) as targets:
            assert not starter.asked
            result = await targets["local"].call(call_of(endpoint=endpoint))
    assert starter.asked == ["smollm2"]
    assert result.cost_usd == 0.0


async def test_a_server_that_was_started_again_elsewhere_is_found() -> None:
    async with MockModel() as first, MockModel() as second:
        starter = Starter(first.base_url)
        async with build_targets([SPEC], around=Surroundings(local=starter)) as targets:
            await targets["local"].call(call_of())
            starter.base_url = second.base_url
            await targets["local"].call(call_of())
        assert (first.calls["total"], second.calls["total"]) == (1, 1)


@pytest.mark.parametrize("failure", [ConfigurationError("not pulled"), TargetUnavailable("does not start")])
async def test_a_model_that_is_not_there_is_unavailable(failure: Exception) -> None:
    async with build_targets([SPEC], around=Surroundings(local=Starter(failure=failure))) as targets:
        with pytest.raises(TargetUnavailable, match=str(failure)):
            await targets["local"].call(call_of())


async def test_a_start_that_takes_too_long_is_a_timeout() -> None:
    async with build_targets([SPEC], around=Surroundings(local=Starter(is_slow=True))) as targets:
        with pytest.raises(TargetTimeout):
            await targets["local"].call(call_of(timeout_seconds=0.05))


@pytest.mark.parametrize(
    "spec",
    [
        TargetSpec(name="x", type=TargetType.LOCAL),
        TargetSpec(name="x", type=TargetType.OPENAI),
        TargetSpec(name="x", type=TargetType.OPENAI, base_url="host:8000/v1"),
    ],
)
def test_a_declaration_that_lacks_something_is_refused(spec: TargetSpec) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\.x"):
        build_target(spec, AiohttpClient(), around=Surroundings(local=Starter()))


@pytest.mark.parametrize(
    ("kind", "endpoint", "expected"),
    [
        (TargetType.OPENAI, "/v1/chat/completions", True),
        (TargetType.OPENAI, "/v1/messages", False),
        (TargetType.ANTHROPIC, "/v1/messages", True),
        (TargetType.ANTHROPIC, "/v1/chat/completions", False),
        (TargetType.LOCAL, "/v1/messages", True),
    ],
)
def test_each_type_serves_its_endpoints(kind: TargetType, endpoint: str, *, expected: bool) -> None:
    spec = TargetSpec(name="x", type=kind, base_url="http://h/v1", model="m", url="http://h/x")
    assert build_target(spec, AiohttpClient(), around=Surroundings(local=Starter())).serves(endpoint) is expected
