"""``/v1/dead-letters``: the jobs that failed for good, and putting them back."""

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON, ErrorBody, error_body, problem_of
from forebay.api.jobs.listing import page, read_limit, split
from forebay.api.jobs.requests import Name
from forebay.api.jobs.routes import retry_each
from forebay.api.paging import read_cursor
from forebay.domain.batch import BATCH_KINDS
from forebay.domain.change import Reply
from forebay.domain.errors import RequestError
from forebay.domain.job import Status
from forebay.domain.query import ROOTS_ONLY, JobQuery

MOST_IDS = 1000
STEP = 500  # jobs queued again in one transaction
MOST_SHOWN = 1000
FILTERS = ("parent_id", "target", "model", "code", "limit", "after")
_DEAD = frozenset({Status.FAILED})


class RetryRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters to put back: exactly one of ``ids``, ``target``, ``code`` and ``all``."""

    ids: list[Name] | None = None
    target: Name | None = None
    code: Name | None = None
    all: bool | None = None
    parent_id: Name | None = None  # among a group's children instead of top-level jobs


class Retried(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one dead letter."""

    id: str
    status: Status | None = None
    error: ErrorBody | None = None


class RetriedList(msgspec.Struct, kw_only=True):
    """``retried`` counts all of them; ``data`` names the first thousand."""

    object: str = "list"
    data: list[Retried]
    retried: int
    has_more: bool = False


_RETRY = msgspec.json.Decoder(RetryRequest)
_FIELDS = tuple(field.name for field in structs.fields(RetryRequest))


async def listed(request: Request) -> Response:
    """GET /v1/dead-letters: newest first; ``?parent_id=`` for a group's."""
    values, metadata = split(request.query_params, FILTERS)
    query = JobQuery(
        tenant=caller_of(request).tenant,
        parent_id=values.get("parent_id", ROOTS_ONLY),
        statuses=_DEAD,
        target=values.get("target"),
        model=values.get("model"),
        code=values.get("code"),
        metadata=metadata,
        after=read_cursor(values.get("after"), "job_"),
        limit=read_limit(values.get("limit")),
    )
    return Response(await page(query, api_of(request)), media_type=JSON)


async def retry(request: Request) -> Response:
    """POST /v1/dead-letters/retry."""
    api, caller = api_of(request), caller_of(request)
    asked = decode(_RETRY, await read_body(request, api.system.settings.max_body_bytes), known=_FIELDS)
    _check(asked)
    if asked.ids is not None:
        outcome = RetriedList(data=[], retried=0)
        _note(outcome, asked.ids, await retry_each(asked.ids, api, caller))
    else:
        outcome = await _retry_found(asked, api, caller)
    return Response(msgspec.json.encode(outcome), media_type=JSON)


def _check(asked: RetryRequest) -> None:
    given = [name for name in ("ids", "target", "code") if getattr(asked, name) is not None]
    if asked.all:
        given.append("all")
    if len(given) != 1:
        raise RequestError(
            "Give exactly one of `ids`, `target`, `code` and `all: true`", param=given[1] if given else "ids"
        )
    if asked.ids is not None and not 1 <= len(asked.ids) <= MOST_IDS:
        raise RequestError(f"ids: 1 to {MOST_IDS}, not {len(asked.ids)}", param="ids")


async def _retry_found(asked: RetryRequest, api: Api, caller: Caller) -> RetriedList:
    """Goes through the dead letters once, newest first; one that dies again meanwhile is not met twice."""
    query = JobQuery(
        tenant=caller.tenant,
        parent_id=asked.parent_id or ROOTS_ONLY,
        statuses=_DEAD,
        without_kinds=BATCH_KINDS,
        target=asked.target,
        code=asked.code,
        limit=STEP,
    )
    outcome = RetriedList(data=[], retried=0)
    while found := await api.services.jobs.find(query):
        ids = [job.id for job in found]
        _note(outcome, ids, await retry_each(ids, api, caller))
        query = structs.replace(query, after=found[-1].id)
    return outcome


def _note(outcome: RetriedList, job_ids: list[str], replies: list[Reply | RequestError]) -> None:
    for job_id, reply in zip(job_ids, replies, strict=True):
        outcome.retried += isinstance(reply, Reply)
        if len(outcome.data) >= MOST_SHOWN:
            outcome.has_more = True
        elif isinstance(reply, RequestError):
            outcome.data.append(Retried(id=job_id, error=error_body(problem_of(reply))))
        else:
            outcome.data.append(Retried(id=job_id, status=reply.status))


ROUTES = [
    Route("/v1/dead-letters", listed, methods=["GET"]),
    Route("/v1/dead-letters/retry", retry, methods=["POST"]),
]
