"""Runs as the configured store has them, for commands that need no server."""

import msgspec

from forebay.api.paging import page_of
from forebay.api.pipelines.views import RunList
from forebay.app import open_system
from forebay.domain.pipeline import PIPELINE
from forebay.domain.query import JobQuery
from forebay.engine.run_views import run_view
from forebay.engine.runs import PIPELINE_MARK, run_named
from forebay.settings import Settings

TENANT = "default"


async def list_here(settings: Settings, run_id: str | None, pipeline: str | None, limit: int) -> bytes:
    """A run's view, or a page of them, as the API has it. Raises: NotFound."""
    async with open_system(settings) as system:
        services = system.services
        if run_id is not None:
            return msgspec.json.encode(await run_view(await run_named(run_id, services, tenant=TENANT), services))
        query = JobQuery(
            tenant=TENANT,
            parent_id=None,
            kinds=frozenset({PIPELINE}),
            metadata={PIPELINE_MARK: pipeline} if pipeline else {},
            limit=limit + 1,
        )
        found = await services.jobs.find(query)
        views = [await run_view(job, services) for job in found[:limit]]
        return msgspec.json.encode(page_of(RunList, views, has_more=len(found) > limit))
