"""The schema: what may be asked. Each resolver does what its route of ``/v1/jobs`` does."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import msgspec
import strawberry
from graphql import GraphQLError
from starlette.datastructures import QueryParams
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from forebay.api.admission import admit, load, no_job
from forebay.api.context import require
from forebay.api.graphql.bounds import Bounds
from forebay.api.graphql.errors import coded
from forebay.api.graphql.nodes import Job, JobConnection, JobEdge, JobInput, JobStatus, PageInfo, given, job_node
from forebay.api.graphql.operation import Info, clean
from forebay.api.graphql.scalars import SCALARS, Json, Time
from forebay.api.graphql.updates import updates
from forebay.api.idempotency import Identity, fingerprint_of, scoped_key
from forebay.api.jobs.listing import DEFAULT_LIMIT, HIGHEST_LIMIT, jobs_query
from forebay.api.jobs.requests import order_of, parse_request
from forebay.domain.change import Lookup
from forebay.domain.errors import RequestError
from forebay.domain.key import Scope

JOBS = "/v1/jobs"  # whose idempotency keys these are: a client may change from one wire to another


async def _job(info: Info, id: strawberry.ID) -> Job | None:  # noqa: A002 - an argument's name is the contract
    api, caller = info.context.api, info.context.caller
    require(caller, Scope.READ)
    return job_node(await load(clean(id, "id"), api, caller))


async def _jobs(  # an argument of the graph is a parameter here
    info: Info,
    first: int | None = DEFAULT_LIMIT,
    after: str | None = None,
    status: list[JobStatus] | None = None,
    kind: list[str] | None = None,
    target: str | None = None,
    model: str | None = None,
    parent_id: strawberry.ID | None = None,
    created_after: Time | None = None,
    created_before: Time | None = None,
    metadata: Json | None = None,
) -> JobConnection:
    filters = {
        "status": [one.value for one in status] if status else None,
        "kind": kind,
        "target": target,
        "model": model,
        "parent_id": parent_id,
        "created_after": created_after,
        "created_before": created_before,
        "after": after,
    }
    return await _page(info, DEFAULT_LIMIT if first is None else first, _parameters(filters, metadata))


async def _submit(info: Info, input: JobInput) -> Job:  # noqa: A002 - an argument's name is the contract
    api, caller = info.context.api, info.context.caller
    require(caller, Scope.SUBMIT)
    data = msgspec.json.encode(given(input))
    request = parse_request(data)
    identity = _identity(request.idempotency_key, data)
    admitted = await admit(
        order_of(request, identity, api.services.clock.now(), hops=info.context.hops), identity, api, caller
    )
    return job_node(admitted.job or await load(admitted.id, api, caller))


async def _cancel(info: Info, id: strawberry.ID) -> Job:  # noqa: A002 - an argument's name is the contract
    api, caller = info.context.api, info.context.caller
    require(caller, Scope.SUBMIT)
    [reply] = await api.services.jobs.cancel(caller.tenant, [clean(id, "id")])
    if reply.lookup is Lookup.NOT_FOUND:
        raise no_job(id)
    return job_node(await load(id, api, caller))


@strawberry.type
class Query:
    job: Job | None = strawberry.field(
        resolver=_job, description="One job; null, with an error of code `not_found`, where there is none"
    )
    jobs: JobConnection = strawberry.field(
        resolver=_jobs, description="Jobs, newest first; without `parentId` only top-level ones"
    )


@strawberry.type
class Mutation:
    submit: Job = strawberry.mutation(resolver=_submit, description="Submits a job; it is durable when this answers")
    cancel: Job = strawberry.mutation(resolver=_cancel, description="Asks a job to end; an ended one stays as it is")


async def _job_updates(info: Info, ids: list[strawberry.ID]) -> AsyncGenerator[Job | None, None]:
    async with contextlib.aclosing(updates(info.context, list(ids))) as found:
        async for update in found:
            yield cast("Job", update)  # an exception among them is told as this event's error


@strawberry.type
class Subscription:
    job_updates: AsyncGenerator[Job | None, None] = strawberry.subscription(
        resolver=_job_updates,
        description="Each job at once as it is, again when its status has changed, and at last when it has ended; "
        "an id that is no job's is null, with an error of code `not_found`. Completes when all have ended",
    )


class Schema(strawberry.Schema):
    """Errors carry our codes, and the framework logs none of a client's making."""

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - the framework's signature
    ) -> None:
        coded(errors)


@lru_cache(maxsize=1)
def schema() -> Schema:
    """The schema; one serves a whole process. Made when it is first needed: most servers are never asked."""
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=[Bounds],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def _identity(key: str | None, data: bytes) -> Identity:
    if key is None:
        return Identity()
    return Identity(key=scoped_key(JOBS, key), fingerprint=fingerprint_of(data))


def _parameters(filters: Mapping[str, Any], metadata: Any) -> QueryParams:
    """The arguments as the query of GET /v1/jobs, which is read as strictly. Raises: RequestError."""
    if metadata is not None and not isinstance(metadata, dict):
        raise RequestError("metadata: give an object of texts", param="metadata")
    pairs = list(_pairs(filters))
    for key, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise RequestError(f"metadata.{key}: it must be a text", param=f"metadata.{key}")
        pairs.append((f"metadata[{clean(key, 'metadata')}]", clean(value, f"metadata.{key}")))
    return QueryParams(pairs)


def _pairs(filters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in filters.items():
        values: Iterable[Any] = value if isinstance(value, list) else [] if value is None else [value]
        for one in values:
            yield name, clean(str(one), name)


async def _page(info: Info, first: int, parameters: QueryParams) -> JobConnection:
    api, caller = info.context.api, info.context.caller
    require(caller, Scope.READ)
    if not 1 <= first <= HIGHEST_LIMIT:
        raise RequestError(f"first: it must be 1 to {HIGHEST_LIMIT}, not {first}", param="first")
    query = msgspec.structs.replace(jobs_query(parameters, caller, api.services.clock.now()), limit=first + 1)
    jobs = await api.services.jobs.find(query)
    edges = [JobEdge(node=job_node(job), cursor=job.id) for job in jobs[:first]]
    return JobConnection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=len(jobs) > first,
            has_previous_page=query.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
