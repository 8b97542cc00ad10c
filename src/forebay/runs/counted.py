"""Counted targets: what this process's worker called, and whether anything answered."""

from dataclasses import dataclass, replace

from forebay.app import System
from forebay.domain.errors import TargetError, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.ports import SlowTarget, StreamSink, Target


@dataclass(slots=True)
class CallCount:
    """``is_reached``: some call had an answer, be it a refusal. ``reason``: why the last one had none."""

    calls: int = 0
    is_reached: bool = False
    reason: str | None = None


class CountedTarget:
    """A Target that counts into ``count`` and passes everything on."""

    def __init__(self, target: Target, count: CallCount) -> None:
        self._target = target
        self._count = count

    @property
    def name(self) -> str:
        return self._target.name

    def serves(self, endpoint: str) -> bool:
        return self._target.serves(endpoint)

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        self._count.calls += call.pending is None  # a look at what was accepted is no call
        try:
            result = await self._target.call(call, sink)
        except TargetUnavailable as error:
            self._count.is_reached = self._count.is_reached or error.status_code is not None
            self._count.reason = error.message
            raise
        except TargetError:
            self._count.is_reached = True
            raise
        self._count.is_reached = True
        return result

    async def withdraw(self, state: str) -> None:
        """Where the target is no slow one, it has nothing to withdraw."""
        if isinstance(self._target, SlowTarget):
            await self._target.withdraw(state)

    async def check(self) -> str:
        return await self._target.check()

    async def close(self) -> None:
        await self._target.close()


def counted(system: System, count: CallCount) -> System:
    """The same system, its targets counted."""
    targets = {name: CountedTarget(target, count) for name, target in system.services.targets.items()}
    return replace(system, services=replace(system.services, targets=targets))
