"""A target that answers by script: for tests of everything above the Target port."""

import asyncio
from collections.abc import Callable, Iterable

from forebay.domain.attempt import Usage
from forebay.domain.errors import TargetError
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.ports import StreamSink

Step = InferenceResult | TargetError | Callable[[Call], InferenceResult]


def answer(text: str = "yes", *, status_code: int = 200, content_type: str = "application/json") -> InferenceResult:
    """A chat completion that says ``text``, with a usage of 3 and 2 tokens and a cost of 0.5 USD."""
    body = f'{{"choices":[{{"message":{{"role":"assistant","content":"{text}"}}}}]}}'
    return InferenceResult(
        status_code=status_code,
        body=body.encode(),
        content_type=content_type,
        usage=Usage(input_tokens=3, output_tokens=2),
        cost_usd=0.5,
    )


def pending(state: str = "{}", after_seconds: float = 5.0, progress: float | None = None) -> InferenceResult:
    """The answer of a target that has accepted the work and goes on with it alone."""
    told = Pending(state=state, after_seconds=after_seconds, progress=progress)
    return InferenceResult(status_code=202, body=b"{}", pending=told)


class ScriptedTarget:
    """Takes the steps in order, the last one for ever. ``calls`` has what it was asked, in order; ``withdrawn`` the
    states of work that is not wanted any more.

    ``gate`` holds every call until it is set; ``entered`` is set when a call is held.
    """

    def __init__(self, name: str, steps: Iterable[Step] = (), *, is_gated: bool = False) -> None:
        self._name = name
        self._steps = list(steps) or [answer()]
        self.calls: list[Call] = []
        self.withdrawn: list[str] = []
        self.broken_off = 0
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        if not is_gated:
            self.gate.set()

    @property
    def name(self) -> str:
        return self._name

    def serves(self, endpoint: str) -> bool:
        return bool(endpoint)

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        self.calls.append(call)
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, TargetError):
            raise step
        result = step if isinstance(step, InferenceResult) else step(call)
        if sink is not None:
            await sink.write(f"data: {result.body.decode()}\n\n")
        return result

    async def withdraw(self, state: str) -> None:
        self.withdrawn.append(state)

    async def check(self) -> str:
        return f"{self._name} answers by script"

    async def close(self) -> None:
        self.gate.set()
