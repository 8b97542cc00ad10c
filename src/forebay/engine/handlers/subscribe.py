"""Lets an endpoint hear of the jobs that were live when it was registered or widened, and so know nothing of it.

Goes through them in the order of their ids and keeps those that are live in hand, a bounded number; for one that has
ended it adds the delivery that its end would have added. It may run again from any place: the deliveries have keys.
"""

import msgspec
from msgspec.structs import replace

from forebay.domain.answer import Answer, Done, Snooze
from forebay.domain.job import LIVE, Job, Notice, Spec
from forebay.domain.query import JobQuery
from forebay.domain.record import Record
from forebay.domain.webhook import ENDPOINT, NOTIFY, SUBSCRIBE, encoded, endpoint_data, notify_args, subscribe_args
from forebay.engine.context import Context
from forebay.engine.notices import notice_for
from forebay.engine.services import Services
from forebay.policy.events import subject_of

IN_HAND = 500  # live jobs that are watched at once
PAGE = 500
FIRST_PAUSE_SECONDS = 1.0  # between two looks; longer while nothing ends
LONGEST_PAUSE_SECONDS = 60.0
_HIDDEN = frozenset({NOTIFY, SUBSCRIBE})


class Cursor(Record, frozen=True, kw_only=True):
    """``progress``: the jobs up to ``after`` were seen; of these, ``live`` had not ended."""

    version: int = 1
    after: str
    live: tuple[str, ...] = ()
    is_all_seen: bool = False
    pause_seconds: float = FIRST_PAUSE_SECONDS


_CURSOR = msgspec.json.Decoder(Cursor)


async def handle_subscribe(job: Job, context: Context) -> Answer:
    """Makes one look."""
    services, args = context.services, subscribe_args(job.spec.args)
    record = await services.records.get(job.tenant, ENDPOINT, args.endpoint)
    if record is None or (data := endpoint_data(record)).disabled_at is not None:
        return Done()  # one that is switched on again gets a job of its own
    cursor = _CURSOR.decode(job.progress) if job.progress else await _begin(job, services)
    known = [one for one in await services.jobs.get(job.tenant, cursor.live) if one is not None]
    room = 0 if cursor.is_all_seen else min(PAGE, IN_HAND - len(cursor.live))
    seen = await _more(job, cursor, args.before, room, services)
    is_last = len(seen) < room
    ended = [one for one in (*known, *seen) if one.is_terminal and (one.finished_at or 0.0) >= args.since]
    deliveries = [made for one in ended if (made := _delivery(one, args.endpoint, data.events, services)) is not None]
    if deliveries:
        await services.jobs.add(deliveries)
    live = tuple(one.id for one in (*known, *seen) if not one.is_terminal)
    is_all_seen = cursor.is_all_seen or (is_last and services.clock.now() > args.before)
    if is_all_seen and not live:
        return Done()
    pause = FIRST_PAUSE_SECONDS if ended or seen else min(2 * cursor.pause_seconds, LONGEST_PAUSE_SECONDS)
    after = seen[-1].id if seen else cursor.after
    moved = replace(cursor, after=after, live=live, is_all_seen=is_all_seen, pause_seconds=pause)
    is_behind = bool(seen) and not is_last and len(live) < IN_HAND
    return Snooze(after_seconds=0.0 if is_behind else pause, progress=encoded(moved))


async def _begin(job: Job, services: Services) -> Cursor:
    """Begins just before the oldest job that is live, or, where none is, before this one."""
    query = JobQuery(tenant=job.tenant, statuses=LIVE, without_kinds=_HIDDEN, limit=1, is_ascending=True)
    oldest = await services.jobs.find(query)
    first = oldest[0].id if oldest else job.id
    return Cursor(after=first[:-1])


async def _more(job: Job, cursor: Cursor, before: float, room: int, services: Services) -> list[Job]:
    """The next jobs that were made before they could know."""
    if room <= 0:
        return []
    query = JobQuery(
        tenant=job.tenant,
        without_kinds=_HIDDEN,
        created_before=before,
        after=cursor.after,
        limit=room,
        is_ascending=True,
    )
    return await services.jobs.find(query)


def _delivery(owner: Job, endpoint: str, events: tuple[str, ...], services: Services) -> Job | None:
    """What the owner's end would have added, had it known the endpoint."""
    notice = notice_for(endpoint, subject_of(owner), events)
    if notice is None or owner.status not in notice.statuses:
        return None
    if any(_is_told(one, owner, endpoint) for one in owner.on_end):
        return None
    now = services.clock.now()
    told = replace(notify_args(notice.args), job_id=owner.id, status=owner.status, happened_at=owner.finished_at)
    return Job(
        id=services.ids.new("job"),
        kind=NOTIFY,
        queue=notice.queue,
        tenant=owner.tenant,
        key=f"end:{owner.id}:{endpoint}:{owner.finished_at!r}",
        created_at=now,
        due_at=now,
        deadline=now + notice.lifespan_seconds,
        spec=Spec(args=encoded(told), metadata={**notice.metadata, "job_id": owner.id}),
    )


def _is_told(notice: Notice, owner: Job, endpoint: str) -> bool:
    """Whether the owner's own end has told the endpoint."""
    if notice.kind != NOTIFY or notify_args(notice.args).endpoint != endpoint:
        return False
    return not notice.statuses or owner.status in notice.statuses
