"""What is told of schedules."""

from typing import Any

import msgspec

from forebay.domain.pipeline import Pipeline, Trigger, run_id
from forebay.domain.schedule import ScheduleData


class ScheduleView(msgspec.Struct, kw_only=True):
    """A trigger of a pipeline. Of ``cron``, ``rate_seconds``, ``at``, ``files`` and ``event`` that of its type is set.

    ``last_skipped_at``: the last fire time that began no run because another one was live; ``last_error``: why the
    last firing began none.
    """

    name: str
    object: str = "schedule"
    pipeline: str
    type: str
    cron: str | None
    timezone: str
    rate_seconds: float | None
    at: float | None
    files: str | None
    event: Any
    window_seconds: float
    params: dict[str, Any]
    overlap: str
    catch_up: str
    paused: bool
    next_fire_at: float | None
    last_fire_at: float | None
    last_run_id: str | None
    last_skipped_at: float | None
    last_error: str | None


class ScheduleList(msgspec.Struct, kw_only=True):
    """All schedules, by name."""

    object: str = "list"
    data: list[ScheduleView]
    has_more: bool = False


def schedule_view(pipeline: Pipeline, trigger: Trigger, data: ScheduleData, next_fire_at: float | None) -> ScheduleView:
    """The trigger as it is configured, and what is kept of it."""
    return ScheduleView(
        name=trigger.name,
        pipeline=pipeline.name,
        type=trigger.type,
        cron=trigger.cron,
        timezone=trigger.timezone,
        rate_seconds=trigger.every_seconds,
        at=trigger.at,
        files=trigger.files,
        event=trigger.pattern,
        window_seconds=trigger.window_seconds,
        params=trigger.params,
        overlap=pipeline.overlap,
        catch_up=pipeline.catch_up,
        paused=data.is_paused,
        next_fire_at=next_fire_at,
        last_fire_at=data.last_fire_at,
        last_run_id=None if data.last_run_id is None else run_id(data.last_run_id),
        last_skipped_at=data.last_skipped_at,
        last_error=data.last_error,
    )
