"""What `forebay doctor` says of schedules: which could not begin their runs, and which nobody fires."""

from forebay.cli.remote import moment
from forebay.domain.health import Check, Level
from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.pipeline import Trigger
from forebay.domain.schedule import SCHEDULE, ScheduleData, schedule_data
from forebay.engine.services import Services
from forebay.policy.schedules import ON_TIME_SECONDS, fires_at, fires_next, next_fire_time


async def schedule_checks(services: Services, now: float) -> list[Check]:
    """One check a trigger of the configured pipelines."""
    checks: list[Check] = []
    for pipeline in services.pipelines.values():
        for trigger in pipeline.triggers:
            record = await services.records.get(DEFAULT_TENANT, SCHEDULE, trigger.name)
            level, message = _told(trigger, None if record is None else schedule_data(record), now)
            checks.append(Check(name=f"schedule {trigger.name}", level=level, message=message))
    return checks


def _told(trigger: Trigger, data: ScheduleData | None, now: float) -> tuple[Level, str]:
    if data is None:
        return Level.OK, "not known to the store yet: a server makes it known, and fires it from then on"
    if data.is_paused:
        return Level.OK, "paused"
    if data.last_error is not None:
        return Level.WARN, f"the last firing began no run: {data.last_error}"
    following = next_fire_time(trigger, data.considered, begun_at=data.begun_at)
    if following is not None and now - fires_at(trigger, following) > 2 * ON_TIME_SECONDS:
        due = moment(fires_at(trigger, following))
        return Level.WARN, f"was due at {due}, and nobody fired it: no server runs with this configuration"
    coming = fires_next(trigger, now, begun_at=data.begun_at)
    return Level.OK, f"fires next at {moment(coming)}" if coming is not None else "waits for what fires it"
