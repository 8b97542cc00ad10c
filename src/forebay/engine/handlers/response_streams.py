"""The durable stream of a Response: numbered over all its attempts, of which one that was cut is told as such."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from forebay.domain.content import Content
from forebay.domain.job import Job
from forebay.domain.response import ENDPOINT, is_background_response, response_id, response_of
from forebay.engine.handlers.streams import ChunkSink
from forebay.engine.intake import load_text
from forebay.engine.services import Services
from forebay.policy.responses_stream import CUT, FIRST, IN_PROGRESS, LIFECYCLE, cut_event, events_in, numbered
from forebay.policy.responses_view import view_of

PAGE = 256  # chunks read at once


class Sink(Protocol):
    """Where a call's stream goes, and how it ends."""

    async def write(self, text: str) -> None: ...

    async def close(self) -> bool: ...

    def abandon(self) -> None: ...


class ResponseSink:
    """Writes a Response's events with numbers of ours. Events of its lifecycle are told by the reader, from the job."""

    def __init__(self, chunks: ChunkSink, first: int) -> None:
        self._chunks = chunks
        self._number = first

    async def write(self, text: str) -> None:
        """Takes whole events. Raises: LeaseLost: another worker has the job."""
        for event in events_in(text):
            kind = event.get("type")
            # Without a type it is no event of this wire; a line break in it would begin another event.
            if isinstance(kind, str) and kind.isprintable() and kind not in LIFECYCLE:
                await self.add(event)

    async def add(self, event: Mapping[str, Any]) -> None:
        """Writes one event, of whatever kind."""
        await self._chunks.write(numbered(dict(event), self._number))
        self._number += 1

    async def close(self) -> bool:
        return await self._chunks.close()

    def abandon(self) -> None:
        self._chunks.abandon()


def begins_again(job: Job) -> bool:
    """Whether a stream that was cut is begun anew: nobody's connection depends on what it said before."""
    return is_background_response(job)


async def open_sink(job: Job, fence: int, services: Services) -> Sink:
    """The sink of one attempt; in the background its beginning is told at once.

    Raises: LeaseLost: another worker has the job.
    """
    if job.spec.endpoint != ENDPOINT or response_of(job) is None:
        return ChunkSink(job.id, fence, services)
    if not begins_again(job):
        return ResponseSink(ChunkSink(job.id, fence, services), FIRST)
    chunk, last = await _last_event(job, services) if job.attempt_count else (-1, None)
    chunks = ChunkSink(job.id, fence, services, first=chunk + 1)
    sink = ResponseSink(chunks, FIRST if last is None else last["sequence_number"] + 1)
    if last is not None and last["type"] not in {CUT, IN_PROGRESS}:
        await sink.add(cut_event(response_id(job.id), job.attempt_count))
    if last is None or last["type"] != IN_PROGRESS:
        await sink.add({"type": IN_PROGRESS, "response": await _view(job, services)})
    return sink


async def _last_event(job: Job, services: Services) -> tuple[int, dict[str, Any] | None]:
    """With the number of the chunk that it ends."""
    last, text = -1, ""
    while chunks := await services.jobs.read(job.id, after=last, limit=PAGE):
        last, text = chunks[-1].number, chunks[-1].text
    events = list(events_in(text))
    return last, events[-1] if events else None


async def _view(job: Job, services: Services) -> dict[str, Any]:
    request = msgspec.json.decode(await load_text(job.body or Content(text="{}"), services.blobs))
    return {**view_of(job, request), "status": "in_progress"}
