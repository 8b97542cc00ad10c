"""Refilling the window: the next lines of the input become children."""

import asyncio
from dataclasses import dataclass, field

import msgspec

from forebay.domain.batch import BatchArgs, Cursor
from forebay.domain.errors import RequestError
from forebay.domain.job import Job, JobError
from forebay.domain.order import Order
from forebay.engine.fanouts import join_by, make_fanout
from forebay.engine.handlers.batch.lines import CUSTOM_ID, child_args, line_key, unsent_line
from forebay.engine.handlers.batch.reading import InputLine, lines_of
from forebay.engine.intake import make_job
from forebay.engine.services import Services
from forebay.policy.window import LARGEST_BYTES

LINES_A_TURN = 50  # made before the event loop has its turn again


class _Body(msgspec.Struct, gc=False):
    model: str | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    body: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)
_BODY = msgspec.json.Decoder(_Body)


@dataclass(slots=True)
class Refill:
    """Children for the window, error lines of what could not be made into a job, and how far the input was read."""

    cursor: Cursor
    children: list[Job] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    bytes: int = 0

    @property
    def is_at_bytes(self) -> bool:
        return self.bytes >= LARGEST_BYTES

    def is_full(self, room: int) -> bool:
        return len(self.children) + len(self.refused) >= room or self.is_at_bytes

    def end(self, offset: int, line: int) -> "Refill":
        """Moves the cursor behind what was read."""
        self.cursor = msgspec.structs.replace(
            self.cursor,
            offset=offset,
            line=line,
            sent=self.cursor.sent + len(self.children),
            refused=self.cursor.refused + len(self.refused),
        )
        return self


async def refill(batch: Job, args: BatchArgs, cursor: Cursor, room: int, services: Services) -> Refill:
    """Makes up to ``room`` children from where the cursor stands. Nothing is kept but large bodies, as blobs."""
    filled = Refill(cursor=cursor)
    if room <= 0 or cursor.is_all_sent or args.input_blob_id is None:
        return filled
    shared = child_args(args)
    offset, number = cursor.offset, cursor.line
    async for lines in lines_of(services.blobs, args.input_blob_id, start=offset, line=number):
        for place, line in enumerate(lines):
            if filled.is_full(room):
                return filled.end(offset, number)
            if line.raw:
                await _send(line, batch, args, shared, filled, services)
            offset, number = line.end, line.number
            if place % LINES_A_TURN == 0:
                await asyncio.sleep(0)
    return filled.end(offset, number)


def _deadline(batch: Job, args: BatchArgs, services: Services) -> float:
    """A fan-out's is its join's: what follows that must end with the batch."""
    if args.fanout is None:
        return batch.deadline
    now = services.clock.now()
    latest = join_by(now, batch.deadline)
    return latest if args.line_seconds is None else min(latest, now + args.line_seconds)


async def _send(
    line: InputLine, batch: Job, args: BatchArgs, shared: str | None, filled: Refill, services: Services
) -> None:
    decoded = _LINE.decode(line.raw)
    body = bytes(decoded.body)
    filled.bytes += len(line.raw)
    order = Order(
        body=body.decode(),
        target=args.target,
        model=args.model or _BODY.decode(body).model,
        endpoint=args.endpoint,
        priority=batch.priority,
        deadline=_deadline(batch, args, services),
        timeout_seconds=args.timeout_seconds,
        max_attempts=args.max_attempts,
        on_unknown=args.on_unknown,
        budget_usd=batch.spec.budget_usd,
        metadata={**args.metadata, CUSTOM_ID: decoded.custom_id},
        data_class=args.data_class,
        key=line_key(line.number),
        args=shared,
        keep_call=True,
        parent_id=batch.id,
        fanout=args.fanout,
        hops=args.hops,
    )
    make = make_job if args.fanout is None else make_fanout
    try:
        filled.children.append(await make(order, services, tenant=batch.tenant))
    except RequestError as refusal:  # the configuration changed since the file was validated
        error = JobError(code=refusal.code, message=refusal.message)
        filled.refused.append(unsent_line(services.ids.new("batch_req"), decoded.custom_id, error))
