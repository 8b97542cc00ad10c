"""Targets of type ``python``: what a function may return and raise, and what each means."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from forebay.domain.errors import (
    ConfigurationError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
)
from forebay.domain.function import MARK, InferenceRequest, Reject, Retry, RunIn, Spawn, TargetMark, target
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.prices import ListPrices
from forebay.targets.python_function import PythonTarget
from forebay.threads import DaemonPool

seen: list[InferenceRequest] = []
released = threading.Event()


@target(modality="image")
async def echo(request: InferenceRequest) -> dict[str, Any]:
    seen.append(request)
    return {"said": request.body["say"]}


def plain(request: InferenceRequest) -> Any:
    """Returns what the body says."""
    return request.body["say"]


def raising(request: InferenceRequest) -> Any:
    kinds: dict[str, Callable[[], BaseException]] = {
        "retry": lambda: Retry(after=7),
        "reject": lambda: Reject("not mine"),
        "value": lambda: ValueError("bad"),
        "stop": StopIteration,
        "exit": lambda: SystemExit(3),
        "time": lambda: TimeoutError("theirs"),
    }
    raise kinds[request.body["say"]]()


async def sleeping(_request: InferenceRequest) -> None:
    await asyncio.Event().wait()


def blocking(_request: InferenceRequest) -> str:
    released.wait(10)
    return "late"


def returning_bytes(_request: InferenceRequest) -> bytes:
    return b"\x00\x01"


def spawning(_request: InferenceRequest) -> Spawn:
    return Spawn([])


def returning_a_set(_request: InferenceRequest) -> Any:
    return {1, 2}


def returning_an_object(_request: InferenceRequest) -> Any:
    return {"x": object()}


class Model:
    """An object that can be called is a function too."""

    async def __call__(self, request: InferenceRequest) -> str:
        return "called " + request.job_id


model = Model()
NOT_CALLABLE = 3


def target_of(name: str, run_in: RunIn | None = RunIn.THREAD) -> PythonTarget:
    spec = TargetSpec(name="f", type=TargetType.PYTHON, function=f"{__name__}:{name}", run_in=run_in)
    return PythonTarget(spec, ListPrices())


def call_of(say: str = '"x"', timeout_seconds: float = 60) -> Call:
    body = b'{"say":%b}' % say.encode()
    return Call(
        job_id="job_1", attempt=2, endpoint="/e", body=body, timeout_seconds=timeout_seconds, metadata={"k": "v"}
    )


@pytest.fixture(autouse=True)
async def fresh() -> AsyncIterator[None]:
    seen.clear()
    released.clear()
    yield
    released.set()


async def test_an_async_function_gets_the_request_and_its_dict_is_the_answer() -> None:
    result = await target_of("echo").call(call_of())
    assert result.body == b'{"said":"x"}'
    assert (seen[0].job_id, seen[0].attempt, seen[0].endpoint, seen[0].metadata) == ("job_1", 2, "/e", {"k": "v"})


@pytest.mark.parametrize("said", ['"text"', "[1,2]", '{"a":null}'])
async def test_a_sync_function_runs_in_a_thread_and_answers_json(said: str) -> None:
    result = await target_of("plain").call(call_of(said))
    assert result.body.decode() == said
    assert result.content_type == "application/json"


async def test_usage_in_the_answer_is_read() -> None:
    result = await target_of("plain").call(call_of('{"usage":{"input_tokens":3,"output_tokens":4}}'))
    assert result.usage is not None
    assert result.usage.total_tokens == 7
    assert result.cost_usd is None


async def test_bytes_are_a_file() -> None:
    result = await target_of("returning_bytes").call(call_of())
    assert (result.body, result.content_type) == (b"\x00\x01", "application/octet-stream")


async def test_an_object_with_an_async_call_is_a_function() -> None:
    assert (await target_of("model").call(call_of())).body == b'"called job_1"'


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        ("retry", TargetThrottled),
        ("reject", TargetRejected),
        ("value", TargetFailed),
        ("stop", TargetFailed),
        ("exit", TargetFailed),
        ("time", TargetFailed),
    ],
)
async def test_each_exception_has_its_meaning(say: str, kind: type[TargetError]) -> None:
    with pytest.raises(TargetError) as caught:
        await target_of("raising").call(call_of(f'"{say}"'))
    assert type(caught.value) is kind
    assert caught.value.retry_after == (7 if say == "retry" else None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("spawning", TargetRejected), ("returning_a_set", TargetFailed), ("returning_an_object", TargetFailed)],
)
async def test_what_cannot_be_an_answer_is_told(name: str, kind: type[TargetError]) -> None:
    with pytest.raises(kind):
        await target_of(name).call(call_of())


@pytest.mark.parametrize("body", [b"[1]", b"{", b'"x"'])
async def test_a_body_that_is_no_object_is_rejected(body: bytes) -> None:
    call = Call(job_id="j", attempt=1, endpoint="/e", body=body, timeout_seconds=5)
    with pytest.raises(TargetRejected):
        await target_of("echo").call(call)


@pytest.mark.parametrize("name", ["sleeping", "blocking"])
async def test_a_function_that_overruns_its_time_is_a_timeout(name: str) -> None:
    with pytest.raises(TargetTimeout):
        await target_of(name).call(call_of(timeout_seconds=0.05))


async def test_calls_that_hang_do_not_keep_later_ones_from_a_thread() -> None:
    pool = DaemonPool(1, "test")

    async def hang() -> None:
        async with asyncio.timeout(0.02):
            await pool.run(lambda: released.wait(10))

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await hang()
    assert await pool.run(lambda: "done") == "done"
    pool.close()


async def test_no_more_calls_run_at_once_than_the_pool_has_threads() -> None:
    pool, running, most, lock = DaemonPool(2, "test"), 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(60)
        with lock:
            running -= 1
        both.wait(60)

    await asyncio.gather(*(pool.run(work) for _ in range(8)))
    assert most == 2
    pool.close()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (None, "module:name"),
        ("no_colon", "module:name"),
        ("no_such_module_here:f", "can't be imported"),
        (f"{__name__}:nothing", "has no 'nothing'"),
        (f"{__name__}:NOT_CALLABLE", "is not a function"),
    ],
)
def test_a_bad_function_is_refused_when_it_is_built(function: str | None, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        PythonTarget(TargetSpec(name="f", type=TargetType.PYTHON, function=function), ListPrices())


def test_the_decorator_marks_and_changes_nothing_else() -> None:
    assert getattr(echo, MARK) == TargetMark(modality="image")
    assert asyncio.iscoroutinefunction(echo)


async def test_check_imports_and_calls_nothing() -> None:
    assert await target_of("echo").check() == f"f: {__name__}:echo is imported"
    assert not seen
