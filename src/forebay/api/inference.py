"""Model endpoints, awaited: every other POST under ``/v1`` goes through the queue and waits for its answer."""

import re
from datetime import timedelta

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from forebay.api.admission import admit, load
from forebay.api.answers import JOB_ID, answer_of
from forebay.api.context import Api, Caller, api_of, caller_of, require
from forebay.api.errors import Problem, problem_response
from forebay.api.files.form_calls import CallBody, read_call
from forebay.api.idempotency import REPLAYED, Identity, identify
from forebay.api.jobs.requests import BodyHead, parse_head
from forebay.api.jobs.routes import view_response
from forebay.api.passing import passed_of
from forebay.api.reading import ANSWER
from forebay.api.scopes import MODEL_ENDPOINTS
from forebay.api.streams import stream_of, stream_within
from forebay.api.waits import until_ended
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.infer_args import InferArgs, with_args
from forebay.domain.order import Order

LONGEST_AWAIT_SECONDS = timedelta(days=31).total_seconds()  # the job's own deadline ends it before

# Those that are documented by name. Any other POST that a target serves is passed on as well.
MODEL_PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)

# What interfaces.md names and this version does not do: refused by name, never queued as if it were a model endpoint.
NOT_YET = re.compile(r"/v1/(?:responses|videos)/.+")
# Below what is ours there are no model endpoints: a misspelt path is never sent to a target.
OURS = re.compile(
    r"(?!/v1/)|.*/$|/v1/(?:jobs|files|batches|messages/batches|models|targets|dead-letters|events|rules|ws|keys|pipelines|runs|schedules"
    r"|webhook_endpoints|webhook_event_types|webhook_deliveries|webhook_secret|graphql|a2a)(?:/|$)"
)
_PREFERENCE = re.compile(r"\s*([a-z-]+)\s*(?:=\s*\"?([^\";]*)\"?)?\s*(?:;[^,]*)?", re.IGNORECASE)


class Preference:
    """RFC 7240's ``Prefer`` as far as we honour it. Source: https://www.rfc-editor.org/rfc/rfc7240"""

    def __init__(self, headers: list[str]) -> None:
        found: dict[str, str] = {}
        for part in ",".join(headers).split(","):
            if match := _PREFERENCE.fullmatch(part):
                found.setdefault(match[1].lower(), match[2] or "")
        self.is_async = "respond-async" in found
        wait = found.get("wait", "").strip()
        self.wait_seconds = float(min(int(wait[:6]), 86_400)) if wait.isascii() and wait.isdigit() else 0.0

    @property
    def is_held(self) -> bool:
        """Whether the client waits for the answer, for a while at least."""
        return not self.is_async or self.wait_seconds > 0

    @property
    def applied(self) -> str:
        return f"respond-async, wait={self.wait_seconds:.0f}" if self.wait_seconds else "respond-async"


async def model_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app behind all routes: a POST that some target serves is a model's request, anything else is nothing."""
    request = Request(scope, receive)
    path = request.scope["path"]
    if NOT_YET.search(path):
        raise NotSupported(f"{path} is not supported yet", code="not_supported")
    if request.method != "POST":
        raise HTTPException(405, headers={"Allow": "POST"}) if path in MODEL_PATHS else HTTPException(404)
    if path not in MODEL_PATHS and (OURS.match(path) or not is_served(path, api_of(request))):
        raise HTTPException(404)
    require(caller_of(request), MODEL_ENDPOINTS)
    response = await infer(request)
    await response(scope, receive, send)


def is_served(endpoint: str, api: Api) -> bool:
    """Whether any target serves the endpoint."""
    return any(target.serves(endpoint) for target in api.services.targets.values())


async def infer(request: Request) -> Response:
    """Queues the request ahead of its lane's other work, and answers as its ``Prefer`` says."""
    api, caller = api_of(request), caller_of(request)
    passed = passed_of(request)
    given = await read_call(request, api, caller)
    identity = identify(request, given.known_by, passed=passed)
    preference = Preference(request.headers.getlist("prefer"))
    async with given.kept(api, caller) as keeping:
        order = _order(request, given, identity, preference)
        if passed is not None or given.is_form:
            order = replace(order, args=with_args(order.args, InferArgs(passed=passed, is_form=given.is_form)))
        admitted = await admit(order, identity, api, caller)
        keeping.is_wanted = not admitted.is_replay
    headers = dict(REPLAYED) if admitted.is_replay else {}
    if preference.is_async:
        headers["preference-applied"] = preference.applied
        early = await _early(admitted.id, order, preference, request, headers) if preference.wait_seconds else None
        return early or await accepted(admitted.id, api, caller, headers)
    if order.is_stream:
        return await stream_of(admitted.id, request, api, caller.tenant, headers)
    job = await until_ended(admitted.id, LONGEST_AWAIT_SECONDS, api, caller.tenant, parts=ANSWER, request=request)
    if not job.is_terminal:
        return stopping(job.id, request)
    return await answer_of(job, request, api, headers)


def _order(request: Request, given: CallBody, identity: Identity, preference: Preference) -> Order:
    path: str = request.scope["path"]
    head = _head(given.data, path)
    return Order(
        body=given.data.decode(),
        model=head.model,
        endpoint=path,
        is_stream=head.stream is True,
        awaited=preference.is_held,
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        hops=read_hops(request.headers.get(HOPS_HEADER)),
    )


def _head(data: bytes, path: str) -> BodyHead:
    """Reads the head. Raises: RequestError; HTTPException: a path that nobody knows, and no model's request to it."""
    try:
        head = parse_head(data, param=None)
    except RequestError as error:
        if path in MODEL_PATHS:
            raise
        raise HTTPException(404) from error
    if head.model is None and path not in MODEL_PATHS:
        raise HTTPException(404)
    return head


async def _early(
    job_id: str, order: Order, preference: Preference, request: Request, headers: dict[str, str]
) -> Response | None:
    """The answer if it comes, or its stream if it begins, within the preferred wait."""
    api, tenant, seconds = api_of(request), caller_of(request).tenant, preference.wait_seconds
    if order.is_stream:
        return await stream_within(job_id, seconds, request, api, tenant, headers)
    job = await until_ended(job_id, seconds, api, tenant, parts=ANSWER, request=request)
    return await answer_of(job, request, api, headers) if job.is_terminal else None


async def accepted(job_id: str, api: Api, caller: Caller, headers: dict[str, str]) -> Response:
    """202, and where the job is."""
    job = await load(job_id, api, caller)
    headers |= {"location": f"/v1/jobs/{job_id}", JOB_ID: job_id}
    return await view_response(job, api, status_code=202, headers=headers)


def stopping(job_id: str, request: Request) -> Response:
    """The server is going and the job goes on: the SDKs send again by themselves, and then join it."""
    headers = {"retry-after": "1", "x-should-retry": "true", JOB_ID: job_id}
    message = "The server is stopping; the job goes on: send again, or read it at /v1/jobs"
    return problem_response(Problem(status=503, message=message, code="server_stopping", headers=headers), request)
