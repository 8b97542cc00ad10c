"""Responses as they are found and shown: a job with the mark of one, its request, its answer."""

from typing import Any

from forebay.api.context import Api, Caller
from forebay.domain.content import Content
from forebay.domain.errors import NotFound
from forebay.domain.job import Job, Status
from forebay.domain.query import Parts
from forebay.domain.record import Record
from forebay.domain.response import job_id_of, response_of
from forebay.engine.intake import load_text
from forebay.policy.output_text import decode_answer
from forebay.policy.responses_view import view_of

Json = dict[str, Any]

PARTS = Parts(body=True, result=True)
SERVED = Parts(body=True, result=True, attempts=True)


class Found(Record, frozen=True, kw_only=True):
    """A response's job with its request and, of a succeeded one, its answer, both decoded."""

    job: Job
    request: Json
    answered: Any = None

    def view(self) -> Json:
        return view_of(self.job, self.request, self.answered)


def no_response(named: str) -> NotFound:
    """The refusal of an id that stands for nothing (of this tenant, or any more)."""
    return NotFound(f"Response with id {named!r} not found.", param="id")


async def find_response(named: str, api: Api, caller: Caller, parts: Parts = PARTS) -> Found:
    """Reads a response that may be fetched. Raises: NotFound: there is none, it was deleted, or not to be stored."""
    job = await api.reader.get(caller.tenant, job_id_of(named), parts)
    args = None if job is None else response_of(job)
    if job is None or args is None or job.body is None or not (args.is_stored or args.is_background):
        raise no_response(named)
    return await found_of(job, api)


async def found_of(job: Job, api: Api) -> Found:
    """Decodes what the job was read with. Raises: NotFound: it was erased meanwhile."""
    request = await decoded(job.body, api)
    return Found(job=job, request=request if isinstance(request, dict) else {}, answered=await answer_in(job, api))


async def answer_in(job: Job, api: Api) -> Any:
    """The decoded result of a succeeded job, None of any other."""
    if job.status is not Status.SUCCEEDED or job.result is None:
        return None
    return await decoded(job.result.body, api)


async def decoded(content: Content | None, api: Api) -> Any:
    """A body, decoded; what is no JSON is None."""
    if content is None:
        return None
    try:
        return decode_answer(await load_text(content, api.services.blobs))
    except ValueError:
        return None
