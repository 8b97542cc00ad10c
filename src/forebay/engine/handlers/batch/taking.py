"""Taking finished children over: their lines become one output segment a wake, their attempts a ledger segment."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from forebay.domain.answer import Taking
from forebay.domain.batch import ERRORS, LEDGER, OUTPUT
from forebay.domain.content import Segment
from forebay.domain.job import DEAD, Job, Status
from forebay.domain.query import JobQuery, Parts
from forebay.engine.handlers.batch.lines import ledger_line, output_line
from forebay.engine.services import Services

PAGE = 500  # rows with their results in memory at one time
_SUCCEEDED = frozenset({Status.SUCCEEDED})
_WHOLE = Parts(result=True, attempts=True)


@dataclass(slots=True)
class Takeover:
    """What one wake takes over. ``is_complete``: nothing that has finished is left."""

    collect: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    is_complete: bool = True

    @property
    def children(self) -> int:
        return len(self.collect) + len(self.dead)

    def taking(self) -> Taking:
        return Taking(collect=tuple(self.collect), dead=tuple(self.dead), segments=tuple(self.segments))


async def take_over(batch: Job, most: int, services: Services) -> Takeover:
    """Writes the lines of up to ``most`` finished children as blobs, durable before the commit that names them.

    Run again from the same rows it takes the same children; the blobs of the first run stay without a reference.
    """
    takeover = Takeover()
    page = await _page(batch, _SUCCEEDED, None, most, services)
    if page:
        await _publish(batch, page, most, takeover, services)
    after: str | None = None
    while page := await _page(batch, DEAD, after, most - takeover.children, services):
        takeover.dead.extend(job.id for job in page)
        after = page[-1].id
    takeover.is_complete = takeover.children < most
    return takeover


async def segment_of(name: str, chunks: AsyncIterator[bytes], services: Services) -> Segment | None:
    """Writes a segment of whole lines; None if there is none."""
    counted = _Counted(chunks)
    info = await services.blobs.write(counted.pieces())
    if not counted.lines:
        await services.blobs.delete([info.id])
        return None
    return Segment(name=name, blob_id=info.id, lines=counted.lines, bytes=info.bytes)


async def errors_segment(lines: Sequence[bytes], services: Services) -> Segment | None:
    """A segment of the error file, from lines at hand."""
    return await segment_of(ERRORS, _each(lines), services) if lines else None


async def _publish(batch: Job, first: list[Job], most: int, takeover: Takeover, services: Services) -> None:
    ledger: list[bytes] = []

    async def lines() -> AsyncIterator[bytes]:
        page = first
        while page:
            yield b"".join([await output_line(job, services.blobs) for job in page])
            ledger.extend(ledger_line(job) for job in page)
            takeover.collect.extend(job.id for job in page)
            page = await _page(batch, _SUCCEEDED, page[-1].id, most - len(takeover.collect), services)

    output = await segment_of(OUTPUT, lines(), services)
    attempts = await segment_of(LEDGER, _each(ledger), services)
    takeover.segments.extend(segment for segment in (output, attempts) if segment is not None)


async def _page(batch: Job, statuses: frozenset[Status], after: str | None, room: int, services: Services) -> list[Job]:
    if room <= 0:
        return []
    query = JobQuery(
        tenant=batch.tenant,
        parent_id=batch.id,
        statuses=statuses,
        is_collected=False,
        is_ascending=True,
        after=after,
        limit=min(PAGE, room),
        parts=_WHOLE if statuses == _SUCCEEDED else Parts(),
    )
    return await services.jobs.find(query)


class _Counted:
    """Chunks of whole lines, counted as they pass."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.lines = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.lines += chunk.count(b"\n")
            yield chunk


async def _each(lines: Sequence[bytes]) -> AsyncIterator[bytes]:
    for start in range(0, len(lines), PAGE):
        yield b"".join(lines[start : start + PAGE])
