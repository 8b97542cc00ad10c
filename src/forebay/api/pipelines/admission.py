"""Beginning runs, for every route that does: once for each idempotency key, within what the tenant may hand in."""

import msgspec
from starlette.responses import Response

from forebay.api.context import Api, Caller
from forebay.api.errors import JSON
from forebay.api.idempotency import REPLAYED, check_same
from forebay.domain.pipeline import Pipeline, run_id
from forebay.engine.run_views import run_view
from forebay.engine.runs import RunOrder, make_run


async def begun(pipeline: Pipeline, order: RunOrder, api: Api, caller: Caller) -> Response:
    """202 with the run, once it is durable. Raises: RequestError, Conflict, TooMany."""
    job = await api.quotas.making(caller.tenant, lambda: make_run(pipeline, order, api.services, tenant=caller.tenant))
    [added] = await api.quotas.add([job])
    headers = {"location": f"/v1/runs/{run_id(added.id)}"}
    if not added.is_new:
        check_same(added.fingerprint, order.fingerprint)
        headers |= REPLAYED
        [stored] = await api.services.jobs.get(caller.tenant, [added.id])
        job = stored or job
    view = msgspec.json.encode(await run_view(job, api.services))
    return Response(view, status_code=202, headers=headers, media_type=JSON)
