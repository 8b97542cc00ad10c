"""Targets of type ``mcp`` against the official SDK's server in another process: over stdio, and over HTTP."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import structlog

from forebay.domain.errors import (
    ConfigurationError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.extras import open_tool
from forebay.targets.mcp_tool import STUCK_TIME_OUTS, McpTarget
from forebay.testing.ports import free_port

from .agent_process import ROOT, Agent, running_agent
from .mcp_tools import JOURNAL, KEY, PICTURE

TOOLS = "tests.integration.mcp_tools"
SECRET = "k-0123456789"
shared = pytest.mark.asyncio(loop_scope="module")


class Toolbox:
    """A target, and the journal of its server."""

    def __init__(self, target: McpTarget, journal: Path) -> None:
        self.target = target
        self._journal = journal

    async def call(self, tool: str, timeout_seconds: float = 120, **arguments: Any) -> InferenceResult:
        body = json.dumps({"tool": tool, "arguments": arguments}).encode()
        return await self.target.call(
            Call(job_id="job_7", attempt=2, endpoint="", body=body, timeout_seconds=timeout_seconds, hops=1)
        )

    def lines(self) -> list[str]:
        return self._journal.read_text().splitlines() if self._journal.exists() else []

    async def noted(self, line: str) -> None:
        while line not in self.lines():
            await asyncio.sleep(0.01)

    def open_gate(self, name: str) -> None:
        self._journal.with_name(name).touch()


def given(result: InferenceResult) -> Any:
    return json.loads(result.body)["structuredContent"]


def child_spec(folder: Path, **changes: Any) -> TargetSpec:
    env = {JOURNAL: str(folder / "journal"), "PYTHONPATH": str(ROOT), "SECRET_OF_OURS": SECRET}
    fields = {"command": sys.executable, "args": ("-m", TOOLS), "env": env, **changes}
    return TargetSpec(name="tools", type=TargetType.MCP, **fields)


@asynccontextmanager
async def opened(spec: TargetSpec, journal: Path) -> AsyncIterator[Toolbox]:
    target = open_tool(spec)
    assert isinstance(target, McpTarget)
    try:
        yield Toolbox(target, journal)
    finally:
        await target.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Path]]:
    """A server over HTTP that wants a key, and its journal."""
    journal = tmp_path_factory.mktemp("served") / "journal"
    with running_agent(TOOLS, free_port(), **{JOURNAL: str(journal), KEY: SECRET}) as running:
        yield running, journal


@pytest_asyncio.fixture(params=["stdio", "http"], scope="module", loop_scope="module")
async def toolbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, served: tuple[Agent, Path]
) -> AsyncIterator[Toolbox]:
    """One session for all tests that harm it no more than they should."""
    if request.param == "stdio":
        folder = tmp_path_factory.mktemp("child")
        spec, journal = child_spec(folder), folder / "journal"
    else:
        agent, journal = served
        spec = TargetSpec(name="tools", type=TargetType.MCP, url=f"{agent.url}/mcp", api_key=SECRET)
    async with opened(spec, journal) as box:
        yield box


@shared
async def test_a_tool_is_called_and_its_result_is_the_jobs(toolbox: Toolbox) -> None:
    result = await toolbox.call("add", a=2, b=3)
    assert json.loads(result.body) == {
        "content": [{"type": "text", "text": "5"}],
        "structuredContent": {"result": 5},
        "isError": False,
    }
    assert given(await toolbox.call("weather", city="Rome")) == {"city": "Rome", "degrees": 21.5}


@shared
async def test_a_picture_is_a_file_beside_the_result(toolbox: Toolbox) -> None:
    result = await toolbox.call("picture")
    text, picture = json.loads(result.body)["content"]
    [file] = result.files
    assert text == {"type": "text", "text": "a chart"}
    assert picture["file"] == {
        "object": "file",
        "file_id": file.mark,
        "content_type": "image/png",
        "bytes": len(PICTURE),
    }
    assert (file.content, file.content_type) == (PICTURE, "image/png")


@shared
async def test_a_tool_is_told_which_job_calls_and_what_a_repeat_is_known_by(toolbox: Toolbox) -> None:
    assert given(await toolbox.call("told"))["meta"] == {
        "forebay/job-id": "job_7",
        "forebay/attempt": 2,
        "forebay/idempotency-key": "job_7",
        "forebay/hops": 1,
    }


@shared
async def test_a_tool_that_fails_is_a_failed_attempt_with_what_it_said(toolbox: Toolbox) -> None:
    with pytest.raises(TargetFailed, match="the tool 'fail' failed") as caught:
        await toolbox.call("fail", reason="because")
    assert json.loads(caught.value.body or b"")["isError"] is True
    with pytest.raises(TargetFailed, match="validation error"):
        await toolbox.call("add", a="x", b=1)


@shared
async def test_a_tool_that_is_not_there_is_refused_for_good(toolbox: Toolbox) -> None:
    with pytest.raises(TargetRejected, match="Unknown tool"):
        await toolbox.call("no_such_tool")


@shared
async def test_a_question_to_the_user_is_refused_for_good_as_nobody_is_there(toolbox: Toolbox) -> None:
    with pytest.raises(TargetRejected):
        await toolbox.call("ask")


@shared
async def test_calls_share_one_session_and_none_waits_for_another(toolbox: Toolbox) -> None:
    waits = asyncio.create_task(toolbox.call("wait", name=f"together-{os.urandom(4).hex()}"))
    sums = await asyncio.gather(*(toolbox.call("add", a=number, b=1) for number in range(10)))
    assert [given(one)["result"] for one in sums] == list(range(1, 11))
    assert not waits.done()
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)


@shared
async def test_the_calls_time_limit_ends_it_at_the_server_too_however_often_it_tells_of_progress(
    toolbox: Toolbox,
) -> None:
    while "begin too-long" not in toolbox.lines():  # a busy machine may not get so far within the limit
        with pytest.raises(TargetTimeout):
            await toolbox.call("wait", 1.0, name="too-long")
    await toolbox.noted("cancelled too-long")
    assert given(await toolbox.call("add", a=1, b=1))["result"] == 2


@shared
async def test_a_call_that_is_broken_off_is_cancelled_at_the_server(toolbox: Toolbox) -> None:
    call = asyncio.create_task(toolbox.call("wait", name="unwanted"))
    await toolbox.noted("begin unwanted")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await toolbox.noted("cancelled unwanted")
    assert given(await toolbox.call("add", a=1, b=1))["result"] == 2


@shared
async def test_work_that_takes_long_is_waited_for(toolbox: Toolbox) -> None:
    call = asyncio.create_task(toolbox.call("wait", name="long-work"))
    await toolbox.noted("begin long-work")
    toolbox.open_gate("long-work")
    assert given(await call)["result"] == "waited for long-work"


@shared
async def test_check_lists_the_tools(toolbox: Toolbox) -> None:
    assert (await toolbox.target.check()).startswith("tools: Toolbox, 9 tools (add, weather, picture, fail")


async def test_the_target_may_name_the_tool_then_the_body_is_its_arguments(served: tuple[Agent, Path]) -> None:
    spec = TargetSpec(name="tools", type=TargetType.MCP, url=f"{served[0].url}/mcp", api_key=SECRET)
    async with opened(msgspec.structs.replace(spec, tool="add", models=("adder",)), served[1]) as box:
        call = Call(job_id="j", attempt=1, endpoint="", body=b'{"a":1,"b":2,"model":"adder"}', timeout_seconds=120)
        assert given(await box.target.call(call))["result"] == 3
        for body in (b"[]", b'{"a"', b"3"):
            with pytest.raises(TargetRejected, match="JSON object"):
                await box.target.call(msgspec.structs.replace(call, body=body))
        with pytest.raises(TargetRejected, match="stream"):
            await box.target.call(msgspec.structs.replace(call, is_stream=True))
    async with opened(msgspec.structs.replace(spec, tool="ad"), served[1]) as box:
        with pytest.raises(TargetRejected, match=r"no tool 'ad'; did you mean 'add'\?; there are: add, weather"):
            await box.target.check()


@pytest.mark.parametrize(
    "body", [{}, {"a": 1}, {"tool": 3}, {"tool": "add", "arguments": [1]}, {"tool": "add", "arguments": {}, "x": 1}]
)
async def test_a_body_that_names_no_tool_is_refused_before_anything_is_started(tmp_path: Path, body: Any) -> None:
    async with opened(child_spec(tmp_path), tmp_path / "journal") as box:
        call = Call(job_id="j", attempt=1, endpoint="", body=json.dumps(body).encode(), timeout_seconds=60)
        with pytest.raises(TargetRejected, match="names no tool"):
            await box.target.call(call)
        assert box.lines() == []


async def test_a_child_that_dies_fails_the_calls_that_it_had_and_is_started_again_by_the_next(tmp_path: Path) -> None:
    async with opened(child_spec(tmp_path), tmp_path / "journal") as box:
        other = asyncio.create_task(box.call("wait", name="beside"))
        await box.noted("begin beside")
        with pytest.raises(TargetFailed, match="ended in the middle of the call"):
            await box.call("die")
        with pytest.raises(TargetFailed, match="ended in the middle of the call"):
            await other
        assert given(await box.call("add", a=1, b=1))["result"] == 2
        [_, pid] = [int(line.split()[1]) for line in box.lines() if line.startswith("start")]
        os.kill(pid, signal.SIGSTOP)  # it is stuck: after some calls in a row that it let time out there is another one
        for _ in range(STUCK_TIME_OUTS):
            with pytest.raises(TargetTimeout):
                await box.call("add", 0.5, a=1, b=1)
        assert given(await box.call("add", a=1, b=1))["result"] == 2
        *_, pid = [int(line.split()[1]) for line in box.lines() if line.startswith("start")]
        os.kill(pid, signal.SIGKILL)  # between two calls: the next may be a failed attempt, and no more
        try:
            result = await box.call("add", a=1, b=1)
        except TargetError:
            result = await box.call("add", a=1, b=1)
        assert given(result)["result"] == 2


@pytest.fixture
def whole_log() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every event of every level, whatever a command line that ran in this process had set up."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logs:
        yield logs
    structlog.configure(**before)


async def test_a_child_has_none_of_our_environment_ends_with_its_target_and_its_words_are_in_our_log(
    tmp_path: Path, whole_log: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_SECRET_KEY", "of the server alone")
    async with opened(child_spec(tmp_path), tmp_path / "journal") as box:
        told = given(await box.call("told"))
        await box.call("complain", words=f"the key is {SECRET}")
        await box.call("complain", words="x" * 200_000)
        await box.call("complain", words="the last")
    assert {"SECRET_OF_OURS", JOURNAL, "PATH"} <= set(told["environment"])
    assert not [name for name in told["environment"] if name.startswith("FOREBAY")]
    with pytest.raises(ProcessLookupError):
        os.kill(told["pid"], 0)
    said = [entry["line"] for entry in whole_log if entry["event"] == "mcp_server_said"]
    assert "the key is [set]" in said
    assert "the last" in said
    assert max(map(len, said)) == 1000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": "/nowhere/at-all"}, "No such file"),
        ({"args": ("-c", "import nothing_of_the_kind")}, "No module named 'nothing_of_the_kind'"),
        ({"args": ("-c", "print('no protocol')")}, "can't be reached"),
    ],
)
async def test_a_child_that_does_not_start_is_unavailable_and_says_why(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    async with opened(child_spec(tmp_path, **changes), tmp_path / "journal") as box:
        with pytest.raises(TargetUnavailable, match=words):
            await box.call("add", a=1, b=2)
        with pytest.raises(TargetUnavailable, match=words):
            await box.target.check()


async def test_a_server_that_is_killed_and_started_again_is_found_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with running_agent(TOOLS, free_port(), **{JOURNAL: str(journal)}) as agent:
        async with opened(TargetSpec(name="tools", type=TargetType.MCP, url=f"{agent.url}/mcp"), journal) as box:
            with pytest.raises(TargetFailed, match="the connection broke"):
                await box.call("die")
            agent.kill()
            with pytest.raises(TargetUnavailable):
                await box.call("add", a=1, b=1)
            agent.start()
            assert given(await box.call("add", a=1, b=1))["result"] == 2


async def test_a_wrong_key_is_refused_and_not_shown(served: tuple[Agent, Path]) -> None:
    spec = TargetSpec(name="tools", type=TargetType.MCP, url=f"{served[0].url}/mcp", api_key="wrong-0123456")
    async with opened(spec, served[1]) as box:
        with pytest.raises(TargetRejected, match="401") as caught:
            await box.call("add", a=1, b=1)
    assert "wrong-0123456" not in caught.value.message


@pytest.mark.parametrize("fields", [{}, {"url": "http://h/mcp", "command": "x"}, {"url": "ftp://h"}])
def test_a_server_is_a_url_or_a_command(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\.tools"):
        open_tool(TargetSpec(name="tools", type=TargetType.MCP, **fields))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.targets.extras._TOOL", ("forebay.targets.no_such_module", "McpTarget"))
    with pytest.raises(ConfigurationError, match=r"pip install 'forebay\[mcp\]'"):
        open_tool(TargetSpec(name="tools", type=TargetType.MCP, command="x"))
