"""An event loop without a machine under it: time jumps to the next timer, and callbacks belong to strands.

A strand is one thread of one simulated process. Its own callbacks run in the order in which asyncio would run them;
between strands the loop chooses by chance, as an operating system may. A strand can be held, and it can end: then what
it had to do is never done, not even its clean-up.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

MOST_STEPS = 200_000  # of one history: beyond it runs in circles
LATEST_SECONDS = 400_000.0

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Stuck(Exception):
    """Nothing will ever happen again, or it never ends."""


class Strand:
    """One thread of execution. ``context`` is what its callbacks run in; every task made there belongs to it."""

    __slots__ = ("context", "fuse", "is_dead", "is_held", "loop", "name", "on_fuse", "owner", "ready")

    def __init__(self, loop: "SimulatedLoop", name: str, owner: object = None) -> None:
        self.loop = loop
        self.name = name
        self.owner = owner
        self.ready: deque[asyncio.Handle] = deque()
        self.is_held = False
        self.is_dead = False
        self.fuse = 0  # callbacks until `on_fuse`; 0: never
        self.on_fuse: Callable[[], None] = lambda: None
        self.context = copy_context()
        self.context.run(STRAND.set, self)

    def call_soon_threadsafe(self, callback: Callable[[*Ts], object], *arguments: *Ts) -> asyncio.Handle:
        """As of an event loop: for what takes a strand in place of one."""
        return self.loop.call_soon(callback, *arguments, context=self.context)

    def create_task(self, work: Coroutine[Any, Any, object], name: str) -> "asyncio.Task[Any]":
        return self.loop.create_task(work, name=name, context=self.context.copy())

    def end(self) -> None:
        self.is_dead = True
        self.loop.forget(self)

    def hold(self) -> None:
        self.is_held = True
        self.loop.forget(self)

    def let_go(self) -> None:
        self.is_held = False
        self.loop.wake(self)


STRAND: ContextVar[Strand] = ContextVar("forebay_simulated_strand")


class SimulatedTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks are walked in the same order in every run."""

    def __init__(self, number: int, *arguments: Any, **options: Any) -> None:
        self.number = number
        super().__init__(*arguments, **options)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """``faults`` has what asyncio had to say of errors that nobody caught."""

    def __init__(self, chance: random.Random, latency: Callable[[], float]) -> None:
        super().__init__()
        self.steps = 0
        self.faults: list[str] = []
        self._chance = chance
        self._latency = latency  # of a call that runs in a thread
        self._now = 0.0
        self._sequence = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Strand]] = []
        self._runnable: list[Strand] = []
        self._tasks: list[SimulatedTask] = []
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the stub knows no `context`
        self.set_exception_handler(lambda _, told: self.faults.append(_told(told)))

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._enter(context[STRAND], handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, timer, context[STRAND]))
        return timer

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Runs it at once, some time later."""
        assert executor is None, "the simulation has one pool: time"
        future: asyncio.Future[T] = self.create_future()
        self.call_later(self._latency(), _execute, future, func, args)
        return future

    def wake(self, strand: Strand) -> None:
        """Lets the strand have its turns, if it has anything to do."""
        if strand.ready and not strand.is_held and not strand.is_dead and strand not in self._runnable:
            self._runnable.append(strand)

    def forget(self, strand: Strand) -> None:
        """Gives the strand no more turns."""
        if strand.is_dead:
            strand.ready.clear()
        if strand in self._runnable:
            self._runnable.remove(strand)

    def dispose(self) -> None:
        """Closes every coroutine that never ended, so that none of it runs when the memory is freed."""
        self.close()  # first: generators that are given up do no clean-up then
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        self._tasks.clear()
        self._timers.clear()

    def _enter(self, strand: Strand, handle: asyncio.Handle) -> None:
        if strand.is_dead:
            return
        strand.ready.append(handle)
        if len(strand.ready) == 1 and not strand.is_held:
            self._runnable.append(strand)

    def _run_once(self) -> None:
        """One callback of one strand: what BaseEventLoop repeats for ever."""
        runnable = self._runnable
        if not runnable:
            self._advance()
            return
        place = int(self._chance.random() * len(runnable)) if len(runnable) > 1 else 0
        strand = runnable[place]
        handle = strand.ready.popleft()
        if not strand.ready:
            del runnable[place]
        if not handle.cancelled():
            handle._run()
        if strand.fuse:
            strand.fuse -= 1
            if not strand.fuse:
                strand.on_fuse()
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"{MOST_STEPS} steps and no end, at {self._now:.3f} s")

    def _advance(self) -> None:
        """Time passes until something is due."""
        timers = self._timers
        if not timers:
            raise Stuck(f"nothing will ever happen again, at {self._now:.3f} s")
        self._now = max(self._now, timers[0][0])
        if self._now > LATEST_SECONDS:
            raise Stuck(f"no end at {self._now:.0f} s")
        while timers and timers[0][0] <= self._now:
            _, _, timer, strand = heapq.heappop(timers)
            if not timer.cancelled():
                self._enter(strand, timer)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> SimulatedTask:
        task = SimulatedTask(len(self._tasks), coroutine, loop=loop, context=context)
        self._tasks.append(task)
        return task


def _execute(future: "asyncio.Future[Any]", func: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = func(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


def _close(coroutine: Generator[Any, Any, Any] | Coroutine[Any, Any, Any]) -> None:
    """Ends a coroutine however often it awaits while it is closed."""
    for _ in range(100):
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001, S112 - it belongs to a process that is dead
            continue
        return


def _told(told: dict[str, Any]) -> str:
    error = told.get("exception")
    with suppress(Exception):
        return f"{told.get('message')}: {error!r}"
    return str(told.get("message"))
