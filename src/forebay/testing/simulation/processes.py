"""Simulated processes: each has a main thread, a heartbeat's and a writer's, and can be killed, stopped and blocked."""

from collections.abc import Callable

from forebay.testing.simulation.loop import STRAND, SimulatedLoop, Strand


class Process:
    """One operating-system process. ``on_end`` is told once, in whoever's turn it ends."""

    def __init__(self, loop: SimulatedLoop, number: int, host: str, on_end: Callable[["Process"], None]) -> None:
        self.number = number
        self.host = host
        self.name = f"p{number}"
        self.worker_id = ""  # once it has one
        self.is_over = False
        self.main = Strand(loop, self.name, self)
        self.heart = Strand(loop, f"{self.name}.heart", self)
        self.writer = Strand(loop, f"{self.name}.writer", self)
        self._on_end = on_end

    @property
    def strands(self) -> tuple[Strand, ...]:
        return (self.main, self.heart, self.writer)

    def kill(self) -> None:
        """Ends it without a word: nothing of it runs any more; a callback of its own that is under way is the last."""
        if not self.is_over:
            self.is_over = True
            for strand in self.strands:
                strand.end()
            self._on_end(self)

    def kill_within(self, callbacks: int) -> None:
        """Ends it between two callbacks of its event loop, where no time passes."""
        self.main.on_fuse = self.kill
        self.main.fuse = callbacks

    def stop(self) -> None:
        """SIGSTOP: nothing of it runs until ``go_on``."""
        for strand in self.strands:
            strand.hold()

    def block(self) -> None:
        """Its event loop stands still, its threads go on."""
        self.main.hold()

    def go_on(self) -> None:
        for strand in self.strands:
            strand.let_go()


def current() -> Process:
    """The process in whose turn we are."""
    owner = STRAND.get().owner
    assert isinstance(owner, Process), "called outside of a simulated process"
    return owner
