"""Functions in processes of their own: what they may do there, and that nothing is left of what nobody waits for."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import forebay
from forebay.domain.errors import (
    ConfigurationError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
)
from forebay.domain.function import RunIn
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.targets.function_processes import ProcessCalls
from forebay.targets.prices import ListPrices
from forebay.targets.python_function import AsyncCalls, PythonTarget, ThreadCalls

FUNCTIONS = """
import os, signal, subprocess, sys, threading, time
import forebay
from forebay.domain.hops import HOPS

loaded = os.getpid()

def says(request):
    return request.body["say"]

async def awaits(request):
    return {"said": request.body["say"]}

def data(request):
    return b"\\x00\\xff"

def fails(request):
    raise {"retry": forebay.Retry(after=7), "reject": forebay.Reject("not mine"), "value": ValueError("bad"),
           "exit": SystemExit(3), "stop": StopIteration()}[request.body["say"]]

def no_answer(request):
    return {"set": {1}, "object": {"x": object()}}[request.body["say"]]

def splits(request):
    if request.children:
        return {"children": request.children, "hops": HOPS.get()}
    return forebay.Spawn([{"target": "t", "body": {"of": request.job_id}}], join="first", deadline="5m")

def wrongly_splits(request):
    return forebay.Spawn([])

def pid(request):
    return [os.getpid()]

def meets(request):
    open(f"{request.body['say']}/{os.getpid()}", "w").close()
    while len(os.listdir(request.body["say"])) < 2:
        time.sleep(0.01)
    return [os.getpid()]

def noisy(request):
    print("x" * 100_000)
    os.write(1, b"y" * 100_000)
    return [sys.stdin.read()]

def handles(request):
    return sorted(os.readlink(f"/proc/self/fd/{name}").partition(":")[0] for name in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{name}"))

def dies(request):
    os._exit(3) if request.body["say"] == "exit" else os.kill(os.getpid(), signal.SIGSEGV)

def hangs(request):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    with open(request.body["say"] + ".aside", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(request.body["say"] + ".aside", request.body["say"])
    while True:
        time.sleep(3600)

@forebay.target(modality="image", run_in="thread")
def marked(request):
    return [os.getpid()]
"""
BROKEN = "raise RuntimeError('no such model')"
DEADLY = "import os; os._exit(9)"
PARENT = """
import asyncio, sys
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.prices import ListPrices
from forebay.targets.python_function import PythonTarget
import json
target = PythonTarget(TargetSpec(name="f", type=TargetType.PYTHON, function="functions:hangs"), ListPrices())
body = json.dumps({"say": sys.argv[1]}).encode()
asyncio.run(target.call(Call(job_id="j", attempt=1, endpoint="/e", body=body, timeout_seconds=3600)))
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("functions", FUNCTIONS), ("broken", BROKEN), ("deadly", DEADLY)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


class Targets:
    """Makes targets, and closes them."""

    def __init__(self) -> None:
        self.made: list[PythonTarget] = []

    def __call__(self, name: str, concurrency: int | None = None, run_in: RunIn | None = RunIn.PROCESS) -> PythonTarget:
        function = name if ":" in name else f"functions:{name}"
        limits = Limits(concurrency=concurrency)
        spec = TargetSpec(name="f", type=TargetType.PYTHON, function=function, limits=limits, run_in=run_in)
        self.made.append(PythonTarget(spec, ListPrices()))
        return self.made[-1]


@pytest.fixture
async def target_of() -> AsyncIterator[Targets]:
    targets = Targets()
    yield targets
    for target in targets.made:
        await target.close()


async def ask(target: PythonTarget, say: Any = "x", **fields: Any) -> InferenceResult:
    body = json.dumps({"say": str(say) if isinstance(say, Path) else say}).encode()
    return await target.call(
        Call(**{"job_id": "j", "attempt": 1, "endpoint": "/e", "body": body, "timeout_seconds": 60.0, **fields})
    )


async def answer(target: PythonTarget, say: Any = "x", **fields: Any) -> Any:
    return json.loads((await ask(target, say, **fields)).body)


async def until_there(file: Path) -> list[int]:
    while not (pids := _written(file)):
        await asyncio.sleep(0.01)
    return pids


async def until_gone(pids: list[int]) -> None:
    """Waits until none of them runs; one that nobody has buried yet doesn't either."""
    while any(_runs(pid) for pid in pids):
        await asyncio.sleep(0.01)


def _written(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_what_a_function_returns_and_raises_means_the_same_in_a_process(target_of: Targets) -> None:
    assert await answer(target_of("says"), "text") == "text"
    assert await answer(target_of("says"), [1, {"a": None}, 2**70]) == [1, {"a": None}, 2**70]
    assert await answer(target_of("awaits"), "x") == {"said": "x"}
    told = await ask(target_of("says"), {"usage": {"input_tokens": 3, "output_tokens": 4}})
    assert told.usage is not None
    assert told.usage.total_tokens == 7
    file = await ask(target_of("data"))
    assert (file.body, file.content_type) == (b"\x00\xff", "application/octet-stream")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (
            "fails",
            {"retry": TargetThrottled, "reject": TargetRejected, "value": TargetFailed, "exit": TargetFailed}
            | {"stop": TargetFailed},
        ),
        ("no_answer", {"set": TargetFailed, "object": TargetFailed}),
        ("dies", {"exit": TargetFailed, "signal": TargetFailed}),
        ("wrongly_splits", {"x": TargetRejected}),
    ],
)
async def test_each_failure_has_its_meaning(target_of: Targets, name: str, kinds: dict[str, type[TargetError]]) -> None:
    target = target_of(name)
    for say, kind in kinds.items():
        with pytest.raises(TargetError) as caught:
            await ask(target, say)
        assert type(caught.value) is kind
        assert caught.value.retry_after == (7 if say == "retry" else None)


async def test_a_function_that_ends_its_process_is_told_how_and_another_takes_its_place(target_of: Targets) -> None:
    target = target_of("dies", 1)
    with pytest.raises(TargetFailed, match=r"ended its process .exit code 3"):
        await ask(target, "exit")
    with pytest.raises(TargetFailed, match=r"ended its process .signal 11"):
        await ask(target, "signal")


async def test_a_task_is_split_and_told_of_its_children(target_of: Targets) -> None:
    target = target_of("splits")
    split = (await ask(target)).split
    assert split is not None
    assert [(part.name, part.order.body) for part in split.parts] == [("t", '{"of":"j"}')]
    assert (split.successes, split.deadline_seconds) == (1, 300)
    assert await answer(target, children={"t": {"body": 1}}, hops=3) == {"children": {"t": {"body": 1}}, "hops": 3}


async def test_a_process_is_kept_for_the_next_call(target_of: Targets) -> None:
    target = target_of("pid", 4)
    first = await answer(target)
    assert first != [os.getpid()]
    assert [await answer(target) for _ in range(3)] == [first] * 3


async def test_calls_run_beside_each_other_in_as_many_processes_as_may_be(target_of: Targets, tmp_path: Path) -> None:
    target, place = target_of("meets", 2), tmp_path / "met"
    place.mkdir()
    pids = await asyncio.gather(*(answer(target, place) for _ in range(6)))
    assert len({pid for [pid] in pids}) == 2


async def test_a_function_that_overruns_its_time_is_ended_and_the_next_call_is_served(
    target_of: Targets, tmp_path: Path
) -> None:
    target = target_of("hangs", 1)
    for name in ("one", "two"):
        with pytest.raises(TargetTimeout, match="did not return within"):
            await ask(target, tmp_path / name, timeout_seconds=0.5)


async def test_a_call_that_is_given_up_ends_the_process_and_what_it_started(target_of: Targets, tmp_path: Path) -> None:
    calling = asyncio.create_task(ask(target_of("hangs"), tmp_path / "pids"))
    pids = await until_there(tmp_path / "pids")
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await until_gone(pids)


async def test_a_process_does_not_outlive_its_parent(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path / "pids"), env=environ)
    try:
        pids = await until_there(tmp_path / "pids")
    finally:
        parent.kill()
        await parent.wait()
    await until_gone(pids)


async def test_a_process_that_died_while_nobody_called_it_is_replaced(target_of: Targets) -> None:
    target = target_of("pid", 1)
    [first] = await answer(target)
    os.kill(first, signal.SIGKILL)
    await until_gone([first])
    assert await answer(target) != [first]


async def test_idle_processes_end_when_the_target_is_closed(target_of: Targets) -> None:
    target = target_of("pid")
    pids = await answer(target)
    await target.close()
    await until_gone(pids)


async def test_what_a_function_prints_or_reads_breaks_nothing(
    target_of: Targets, capfd: pytest.CaptureFixture[str]
) -> None:
    target = target_of("noisy")
    assert [await answer(target) for _ in range(2)] == [[""], [""]]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "x" * 100_000 in printed.err


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_process_has_no_handles_of_its_parents(target_of: Targets) -> None:
    with socket.socket() as held:
        held.set_inheritable(True)
        assert "socket" not in await answer(target_of("handles"))


async def test_a_module_that_can_not_be_imported_is_told(target_of: Targets) -> None:
    for name, reason in (
        ("broken:f", "no such model"),
        ("functions:nothing", "has no 'nothing'"),
        ("deadly:f", "code 9"),
    ):
        target = target_of(name)
        with pytest.raises(TargetFailed, match=reason):
            await ask(target)
        with pytest.raises(TargetFailed, match=reason):
            await target.check()
    assert await target_of("says").check() == "f: functions:says is imported"
    with pytest.raises(ConfigurationError, match="can't be imported"):
        target_of("no_such_module:f")
    with pytest.raises(ConfigurationError, match="module:name"):
        target_of("functions:")


async def test_sync_functions_have_processes_unless_they_are_declared_otherwise(target_of: Targets) -> None:
    assert isinstance(target_of("pid", run_in=None)._calls, ProcessCalls)
    assert isinstance(target_of("marked", run_in=None)._calls, ThreadCalls)
    assert isinstance(target_of("pid", run_in=RunIn.THREAD)._calls, ThreadCalls)
    assert isinstance(target_of("awaits", run_in=None)._calls, AsyncCalls)
    assert await answer(target_of("marked", run_in=RunIn.PROCESS)) != [os.getpid()]
    assert target_of("marked", run_in=None).spec.modality == "image"
    plain = target_of("pid", run_in=None).spec
    assert (plain.modality, plain.limits.concurrency) == ("text", max(4, os.cpu_count() or 1))


def test_a_mark_with_another_place_to_run_in_is_refused() -> None:
    with pytest.raises(ValueError, match="fibre"):
        forebay.target(run_in="fibre")
