"""Holding a request until its job has ended, its time is up, its client has gone, or the server is going."""

import asyncio

from starlette.requests import Request

from forebay.api.admission import no_job
from forebay.api.context import Api
from forebay.api.reading import WHOLE
from forebay.api.waiting import wait_for_signal
from forebay.domain.job import Job
from forebay.domain.query import Parts

LOOK_SECONDS = 15.0  # how often a waiting request looks whether its client is still there


async def until_ended(
    job_id: str, seconds: float, api: Api, tenant: str, *, parts: Parts = WHOLE, request: Request | None = None
) -> Job:
    """Returns the job when it has ended, or as it is when there is nothing more to wait for. Raises: NotFound."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    with api.waiting.on(job_id) as signal:
        while True:
            signal.clear()  # before the read: a hint that comes during it is not lost
            job = await api.reader.get(tenant, job_id, parts)
            if job is None:
                raise no_job(job_id)
            left = until - loop.time()
            if job.is_terminal or left <= 0 or api.waiting.gives_up(job):
                return job
            was_told = await wait_for_signal(signal, min(left, LOOK_SECONDS))
            if not was_told and request is not None and await request.is_disconnected():
                return job
