"""Looking for what other processes committed: which watched queues have work, which watched jobs ended or grew.

Of all jobs, the roots that ended and the streams that grew since the last look are asked for by their indexes: what
that costs follows what happened, not how many are watched. Children's ends, and what a clock that was set back hides,
are found by a sweep over the watched jobs, some at a time: the thread that looks is the one that commits.
"""

from collections.abc import Callable, Iterable, Iterator

from forebay.stores.sqlite.transaction import Session

READY = "ready:"
JOB = "job:"
SWEEP_JOBS = 500  # of one look: 2 ms
NEWS_JOBS = 5_000  # of one look; what is left comes with the next one

State = tuple[float | None, int | None]  # when a job ended, and its last chunk


class Looks:
    """What was seen of the store. Used by the writer's thread alone, but for ``forget``."""

    def __init__(self) -> None:
        self._seen: dict[str, State] = {}
        self._sweep: list[str] = []
        self._is_sweep_due = False
        self._ended_at: float | None = None  # of the last root whose end was seen
        self._chunk: int | None = None  # the row of the last chunk that was seen

    @property
    def is_behind(self) -> bool:
        """Whether a sweep has watched jobs left."""
        return self._is_sweep_due or bool(self._sweep)

    def forget(self, topic: str) -> None:
        """Nobody watches it any more; any thread."""
        self._seen.pop(topic, None)

    def look(self, session: Session, topics: Callable[[], set[str]], *, has_changed: bool) -> Iterator[str]:
        """Yields the watched topics of which something new is known. ``has_changed``: others have committed."""
        watched = topics()
        if has_changed:
            queues = [topic.removeprefix(READY) for topic in watched if topic.startswith(READY)]
            if queues:
                yield from (READY + row[0] for row in session.bulk("read.claimable", queues))
            self._is_sweep_due = any(topic.startswith(JOB) for topic in watched)
            if self._is_sweep_due:
                yield from self._ended(session, watched)
                yield from self._grown(session, watched)
        if not self._sweep and self._is_sweep_due:
            self._sweep = [topic for topic in watched if topic.startswith(JOB)]
            self._is_sweep_due = False
        yield from self._swept(session, watched)

    def _ended(self, session: Session, watched: set[str]) -> Iterator[str]:
        if self._ended_at is None:
            [[self._ended_at]] = session.run("read.last_ended")
            return
        for job_id, finished_at in session.run("read.ended_since", self._ended_at, NEWS_JOBS):
            self._ended_at = finished_at
            topic = JOB + job_id
            if topic in watched and self._seen.get(topic, (None, None))[0] != finished_at:
                self._seen[topic] = (finished_at, self._seen.get(topic, (None, None))[1])
                yield topic

    def _grown(self, session: Session, watched: set[str]) -> Iterator[str]:
        [[last]] = session.run("read.last_chunk")
        if self._chunk is not None and last > self._chunk:
            yield from watched & {JOB + row[0] for row in session.run("read.chunks_since", self._chunk)}
        self._chunk = last  # lower than before where the last stream was emptied: the sweep sees to that

    def _swept(self, session: Session, watched: set[str]) -> Iterator[str]:
        some, self._sweep = self._sweep[:SWEEP_JOBS], self._sweep[SWEEP_JOBS:]
        job_ids = [topic.removeprefix(JOB) for topic in _still(some, watched)]
        if not job_ids:
            return
        for job_id, finished_at, last_chunk in session.bulk("read.watched", job_ids):
            topic, state = JOB + job_id, (finished_at, last_chunk)
            if self._seen.get(topic, (None, None)) != state:
                self._seen[topic] = state
                yield topic


def _still(topics: Iterable[str], watched: set[str]) -> Iterator[str]:
    return (topic for topic in topics if topic in watched)
