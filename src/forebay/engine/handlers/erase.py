"""Kind ``erase``: the notice of what was not to be stored. Ten minutes after its owner's end body and result go."""

import msgspec

from forebay.domain.answer import Answer, Done, Snooze
from forebay.domain.change import Lookup
from forebay.domain.job import Job, Notice
from forebay.domain.lane import CONTROL
from forebay.domain.record import Record
from forebay.engine.context import Context
from forebay.engine.erasure import erase

ERASE = "erase"
KEPT_SECONDS = 600.0  # after the end, for whoever still fetches the answer. Source: OpenAI's `store: false`
NOTICE = Notice(kind=ERASE, queue=CONTROL)


class _Args(Record, frozen=True, kw_only=True):
    job_id: str


async def handle_erase(job: Job, context: Context) -> Answer:
    """Erases the owner when its time has come. One that was queued again keeps its words until it has ended anew."""
    services = context.services
    owner_id = msgspec.json.decode(job.spec.args or "{}", type=_Args).job_id
    [owner] = await services.jobs.get(job.tenant, [owner_id])
    if owner is None:
        return Done()
    if owner.finished_at is None or not owner.is_terminal:
        return Snooze(after_seconds=KEPT_SECONDS)
    left = owner.finished_at + KEPT_SECONDS - services.clock.now()
    if left > 0:
        return Snooze(after_seconds=left)
    reply = await erase(job.tenant, owner_id, services)
    return Snooze(after_seconds=KEPT_SECONDS) if reply.lookup is Lookup.NOT_DEAD else Done()
