"""Lessons: what one worker has learned of a target's limits, told to the others on the same store."""

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
