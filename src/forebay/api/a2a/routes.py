"""``/v1/a2a/push``: an agent tells how a task stands. It brings the token of the job, and no API key."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import read_body
from forebay.api.context import api_of
from forebay.api.errors import JSON
from forebay.domain.errors import Unauthorized
from forebay.domain.job import Job
from forebay.domain.pending import infer_cursor
from forebay.domain.target import TargetType
from forebay.engine.services import Services
from forebay.targets.a2a_push import PUSH_PATH, job_of
from forebay.targets.a2a_wire import TOKEN_HEADER, is_still_under_way

MOST_BYTES = 1024 * 1024  # a task with its artifacts; what is longer is not read, and taken for news
_BEARER = "bearer "


class PushView(msgspec.Struct, kw_only=True):
    """The reply: whether the task is asked for now."""

    object: Literal["a2a.push"] = "a2a.push"
    hastened: bool


async def push(request: Request) -> Response:
    """POST /v1/a2a/push. What it says is no result: the agent is asked, over the connection that is ours."""
    api = api_of(request)
    job_id = job_of(_token(request), api.services.secrets)
    if job_id is None:
        raise Unauthorized("A push needs the token that the agent was given with its message")
    news = await read_body(request, min(MOST_BYTES, api.system.settings.max_body_bytes))
    hastened = False
    if not is_still_under_way(news):
        hastened = await _hasten(job_id, api.services)
    return Response(msgspec.json.encode(PushView(hastened=hastened)), media_type=JSON)


def _token(request: Request) -> str:
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        presented = request.headers.get("authorization", "")
        token = presented[len(_BEARER) :] if presented.lower().startswith(_BEARER) else ""
    return token.strip()


async def _hasten(job_id: str, services: Services) -> bool:
    """Has the agent asked at once, if the job waits for its task. While it is being asked, that answer is the news."""
    [job] = await services.jobs.get(None, [job_id])
    if job is None or not _waits_for_agent(job, services):
        return False
    return bool(await services.jobs.hasten(job.tenant, [job_id]))


def _waits_for_agent(job: Job, services: Services) -> bool:
    if job.is_terminal or job.is_group or not job.progress:
        return False
    pending = infer_cursor(job.progress).pending
    spec = None if pending is None else services.specs.get(pending.target)
    return spec is not None and spec.type is TargetType.A2A


ROUTES = [Route(PUSH_PATH, push, methods=["POST"])]
