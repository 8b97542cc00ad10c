"""``/v1/schedules``: list them, pause and resume one, fire one by hand. They are the installation's: another tenant
than ``default`` has none.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.idempotency import identify
from forebay.api.pipelines.admission import begun
from forebay.api.schedules.views import ScheduleList, ScheduleView, schedule_view
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.pipeline import Pipeline, RunTrigger, Trigger, TriggerType, run_args
from forebay.domain.schedule import ScheduleData
from forebay.engine.runs import RunOrder
from forebay.engine.triggers.states import change_state, last_run_of, state_of
from forebay.policy.nearest import hint
from forebay.policy.schedules import OF_CLOCK, fires_next


class FireRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A firing by hand."""

    idempotency_key: str | None = None


_FIRE = msgspec.json.Decoder(FireRequest)
_FIELDS = ("idempotency_key",)


async def schedules(request: Request) -> Response:
    """GET /v1/schedules."""
    api, caller = api_of(request), caller_of(request)
    known = _known(api, caller)
    page = ScheduleList(data=[await _view(*known[name], api) for name in sorted(known)])
    return Response(msgspec.json.encode(page), media_type=JSON)


async def pause(request: Request) -> Response:
    """POST /v1/schedules/{name}/pause: it fires nothing until it is resumed."""
    return await _changed(request, is_paused=True)


async def resume(request: Request) -> Response:
    """POST /v1/schedules/{name}/resume: it goes on from now; times that have passed meanwhile are not made up for."""
    return await _changed(request, is_paused=False)


async def fire(request: Request) -> Response:
    """POST /v1/schedules/{name}/run: begins a run by hand now, paused or not, beside whatever is live."""
    api, caller = api_of(request), caller_of(request)
    pipeline, trigger = _named(request, api)
    if trigger.type not in OF_CLOCK:
        what = "an event" if trigger.type is TriggerType.EVENT else "a file"
        message = f"{trigger.name!r} fires by {what}: begin its run with POST /v1/pipelines/{pipeline.name}/runs"
        raise RequestError(message, param="name", code="not_supported")
    data = await read_body(request, api.system.settings.max_body_bytes) or b"{}"
    identity = identify(request, data, body_key=decode(_FIRE, data, known=_FIELDS).idempotency_key)
    now = await api.services.jobs.now()
    order = RunOrder(
        params=trigger.params,
        trigger=RunTrigger(type=TriggerType.MANUAL, name=trigger.name, fire_time=now),
        key=identity.key,
        fingerprint=identity.fingerprint,
    )
    return await begun(pipeline, order, api, caller)


async def _changed(request: Request, *, is_paused: bool) -> Response:
    api = api_of(request)
    pipeline, trigger = _named(request, api)
    now = await api.services.jobs.now()
    _, known = await state_of(trigger, api.services, now, tenant=DEFAULT_TENANT)
    if known.is_paused != is_paused:
        await change_state(trigger, api.services, tenant=DEFAULT_TENANT, is_paused=is_paused, considered=now)
    return Response(msgspec.json.encode(await _view(pipeline, trigger, api)), media_type=JSON)


def _known(api: Api, caller: Caller) -> dict[str, tuple[Pipeline, Trigger]]:
    if caller.tenant != DEFAULT_TENANT:
        return {}
    pipelines = api.services.pipelines.values()
    return {trigger.name: (pipeline, trigger) for pipeline in pipelines for trigger in pipeline.triggers}


def _named(request: Request, api: Api) -> tuple[Pipeline, Trigger]:
    """Raises: NotFound."""
    name, known = request.path_params["name"], _known(api, caller_of(request))
    if name not in known:
        raise NotFound(f"There is no schedule {name!r}{hint(name, known)}", param="name")
    return known[name]


async def _view(pipeline: Pipeline, trigger: Trigger, api: Api) -> ScheduleView:
    services = api.services
    now = await services.jobs.now()
    _, data = await state_of(trigger, services, now, tenant=DEFAULT_TENANT)
    if trigger.type not in OF_CLOCK and (run := await last_run_of(trigger, services, tenant=DEFAULT_TENANT)):
        fired_at = run_args(run.spec.args).trigger.fire_time
        data = msgspec.structs.replace(data, last_run_id=run.id, last_fire_at=fired_at)
    return schedule_view(pipeline, trigger, data, _next_fire_at(trigger, data, now))


def _next_fire_at(trigger: Trigger, data: ScheduleData, now: float) -> float | None:
    return None if data.is_paused else fires_next(trigger, now, begun_at=data.begun_at)


ROUTES = [
    Route("/v1/schedules", schedules, methods=["GET"]),
    Route("/v1/schedules/{name}/pause", pause, methods=["POST"]),
    Route("/v1/schedules/{name}/resume", resume, methods=["POST"]),
    Route("/v1/schedules/{name}/run", fire, methods=["POST"]),
]
