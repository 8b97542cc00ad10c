"""Schedule: what the store keeps of a pipeline's trigger, by its name. A firing is a run with a key of its own.

What a trigger is stands in the configuration; what happened to it, and whether it is paused, stands in a record.
"""

import msgspec

from forebay.domain.pipeline import Trigger
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord

SCHEDULE = "schedule"  # the kind of the records; their ids are the triggers' names
TURN = "pipeline_turn"  # of a record a pipeline: which run was begun last where none may run beside another
SEEN_FILE = "seen_file"  # of files that have had their run: `<trigger>/<digest of the file>`


class ScheduleData(Record, frozen=True, kw_only=True):
    """``data`` of a schedule's record. ``definition``: the hash of what fires it, as it was then; ``considered``: up to
    here every firing has been decided on; ``removed_at``: since then a server's configuration lacks it.
    """

    definition: str
    begun_at: float
    considered: float
    is_paused: bool = False
    removed_at: float | None = None
    last_fire_at: float | None = None  # the fire time of the last run
    last_run_id: str | None = None
    last_skipped_at: float | None = None  # the last fire time that began no run, because another one was live
    last_error: str | None = None  # why the last firing began none


class Turn(Record, frozen=True, kw_only=True):
    """``data`` of a pipeline's turn: the run that took it, before it was added."""

    job_id: str
    key: str
    taken_at: float


class Firing(Record, frozen=True, kw_only=True):
    """One firing of a trigger. ``key``: what makes its run the only one; ``must_wait``: it is not skipped while another
    run is live, but comes after it; ``detail``: the event's or file's own.
    """

    trigger: Trigger
    key: str
    fire_time: float
    must_wait: bool = False
    detail: object = None
    params: dict[str, object] = {}
    hops: int = 0


_SCHEDULE = msgspec.json.Decoder(ScheduleData)
_TURN = msgspec.json.Decoder(Turn)


def schedule_data(record: StoredRecord) -> ScheduleData:
    return _SCHEDULE.decode(record.data)


def turn_of(record: StoredRecord) -> Turn:
    return _TURN.decode(record.data)


def encoded(data: ScheduleData | Turn) -> str:
    return msgspec.json.encode(data).decode()
