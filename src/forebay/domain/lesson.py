"""Lessons: what one worker has learned of a target's limits, told to the others on the same store."""

from msgspec.structs import replace

from forebay.domain.record import Record


class Lesson(Record, frozen=True, kw_only=True):
    """Of one target, as one worker has it. Spans, not times: clocks differ."""

    target: str
    teller: str
    limit: int = 0  # calls at once that the teller allows itself; 0: not found yet
    cause: str = ""  # what refusals are thought to be about
    accepted_per_second: float = 0.0  # calls of the teller's, lately
    refused_share: float = 0.0  # of the teller's calls since it told its last lesson
    per_second: float | None = None  # of all workers together
    pause_seconds: float = 0.0  # from now on nothing is sent for so long
    since_seconds: float = 0.0  # for so long the teller has been sending: what others found since includes it

    def aged(self, seconds: float) -> "Lesson":
        """As it is heard so long after it was told."""
        return replace(
            self,
            pause_seconds=max(0.0, self.pause_seconds - seconds),
            since_seconds=self.since_seconds + seconds if self.since_seconds else 0.0,
        )
