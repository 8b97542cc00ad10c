"""Events: which pipelines an event starts. Its runs are added with the jobs of the rules that it matches."""

from typing import Any

import msgspec
import structlog

from forebay.domain.errors import RequestError
from forebay.domain.job import Job
from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.pipeline import Pipeline, Trigger
from forebay.domain.schedule import Firing
from forebay.engine.runs import make_run
from forebay.engine.services import Services
from forebay.engine.triggers.firing import order_of, waiting
from forebay.engine.triggers.states import note_error, state_of
from forebay.policy.templates import compile_body

log = structlog.get_logger(__name__)


async def runs_of(text: str, digest: str, hops: int, services: Services, *, tenant: str) -> list[tuple[Pipeline, Job]]:
    """The runs that an event begins, to be added. Pipelines are the installation's: of no tenant but ``default``."""
    if tenant != DEFAULT_TENANT:
        return []
    found: list[tuple[Pipeline, Job]] = []
    for pipeline, trigger in services.event_triggers.matching(text):
        now = await services.jobs.now()
        _, state = await state_of(trigger, services, now, tenant=tenant)
        if state.is_paused:
            continue
        event = msgspec.json.decode(text)
        try:
            firing = Firing(
                trigger=trigger,
                key=f"trigger:pipeline/{trigger.name}:{digest}",  # no rule's name has a slash
                fire_time=now,
                must_wait=True,
                detail=event,
                params=_params(trigger, event),
                hops=hops + 1,
            )
            job = await make_run(waiting(pipeline, firing), order_of(firing), services, tenant=tenant)
        except RequestError as error:
            log.error("trigger_failed", trigger=trigger.name, reason=error.message)  # noqa: TRY400
            await note_error(trigger, error.message, services, tenant=tenant)
            continue
        if state.last_error is not None:
            await note_error(trigger, None, services, tenant=tenant)
        found.append((pipeline, job))
    return found


def _params(trigger: Trigger, event: dict[str, Any]) -> dict[str, Any]:
    """The trigger's parameters; a template in them sees the event."""
    rendered: dict[str, Any] = compile_body(trigger.params).render(event) if trigger.params else {}
    return rendered
