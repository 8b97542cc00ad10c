"""A delivery: one event, sent to one endpoint until it takes it, or for three days.

The event is made anew on every try from what does not change (the owner's id and the time of its end), so that a try
whose record was lost is followed by one with the same ``webhook-id``.
"""

import msgspec
import structlog

from forebay.domain.answer import Answer, Done, Failed, Retry
from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.errors import ConfigurationError, NotFound, RequestError, TargetError
from forebay.domain.job import ErrorCode, Job, JobError
from forebay.domain.query import Parts
from forebay.domain.webhook import (
    LARGEST_VIEW_BYTES,
    LIFESPAN_SECONDS,
    Delivery,
    Include,
    NotifyArgs,
    Subject,
    notify_args,
)
from forebay.engine.context import Context
from forebay.engine.couriers import Couriers
from forebay.engine.endpoints import Place, disable, place_of
from forebay.engine.intake import load_text
from forebay.engine.services import Services
from forebay.engine.views import view_of
from forebay.policy.attempts import judge
from forebay.policy.deliveries import GONE, SUCCESSES, wait_seconds
from forebay.policy.events import event_id, event_type_of, matches, subject_id
from forebay.policy.lifecycle import next_attempt

log = structlog.get_logger(__name__)
TARGET = "notify"  # of every attempt: no label, and no ledger, has a tenant's address
REFUSED = "webhook_refused"
UNREACHABLE = "webhook_unreachable"


class Event(msgspec.Struct, kw_only=True):
    """What is sent. Source: OpenAI's webhooks, which are Standard Webhooks."""

    id: str
    object: str = "event"
    created_at: int
    type: str
    data: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class NotifyHandler:
    """Serves the kind ``notify``."""

    def __init__(self, couriers: Couriers) -> None:
        self._couriers = couriers

    async def __call__(self, job: Job, context: Context) -> Answer:
        """Makes one try."""
        args, services = notify_args(job.spec.args), context.services
        try:
            place = await place_of(job, args, services)
        except RequestError as refused:  # no secret key here; another worker may have one
            return _again(job, services, JobError(code=refused.code, message=refused.message))
        except ConfigurationError as broken:
            return _again(job, services, JobError(code=ErrorCode.INTERNAL, message=str(broken)))
        if isinstance(place, JobError):
            return Failed(error=place)
        event = await event_of(job, args, services)
        if not matches(place.events, event.type):
            return Done()  # nothing to send: it wants to hear of other ends
        return await self._send(job, place, event, context)

    async def _send(self, job: Job, place: Place, event: Event, context: Context) -> Answer:
        services = context.services
        if services.notifier is None:
            raise ConfigurationError("This process was opened without a notifier")
        delivery = Delivery(url=place.url, event_id=event.id, body=msgspec.json.encode(event), secrets=place.secrets)
        attempt = next_attempt(context.claimed, target=TARGET, model=None, now=services.clock.now())
        await context.begin(attempt)
        try:
            reply = await services.notifier.send(delivery)
        except TargetError as error:
            context.complete(_ended(attempt, services, judge(error).outcome, error.status_code, error.message))
            self._couriers.heard(job.queue, is_well=False)
            return _again(job, services, JobError(code=UNREACHABLE, message=error.message))
        is_well = reply.status_code in SUCCESSES
        self._couriers.heard(job.queue, is_well=is_well)
        if is_well:
            context.complete(_ended(attempt, services, Outcome.SUCCEEDED, reply.status_code))
            return Done()
        message = f"The endpoint answered {reply.status_code}"
        context.complete(_ended(attempt, services, Outcome.REJECTED, reply.status_code, message))
        if reply.status_code == GONE:
            await disable(place, job, services, "It answered 410: gone")
            return Failed(error=JobError(code=REFUSED, message=f"{message}: gone; nothing more is sent there"))
        return _again(job, services, JobError(code=REFUSED, message=message), reply.retry_after)


async def event_of(job: Job, args: NotifyArgs, services: Services) -> Event:
    """The event that a delivery tells of."""
    wants_view = args.include is Include.JOB
    parts = Parts(result=wants_view or args.subject is Subject.RESPONSE, attempts=wants_view)
    [owner] = await services.jobs.get(job.tenant, [args.job_id], parts)
    happened_at = job.created_at if args.happened_at is None else args.happened_at
    if args.event_type is not None:
        return Event(
            id=args.event_id or event_id(args.job_id, happened_at),
            created_at=int(happened_at),
            type=args.event_type,
            data=msgspec.Raw(msgspec.json.encode(args.data)),
        )
    data = await _view(owner, services) if owner and wants_view and owner.status is args.status else None
    thin = msgspec.json.encode({"id": subject_id(args.subject, args.job_id)})
    return Event(
        id=args.event_id or event_id(args.job_id, happened_at),
        created_at=int(happened_at),
        type=await type_of(args, owner, services),
        data=msgspec.Raw(data or thin),
    )


async def type_of(args: NotifyArgs, owner: Job | None, services: Services) -> str:
    """The type of a delivery's event; of a response the owner was read with its result."""
    said = await _said(owner, services) if owner and args.subject is Subject.RESPONSE else None
    return event_type_of(args.subject, args.status, owner, said)


async def _said(owner: Job, services: Services) -> str | None:
    """The status that a model's answer gives itself."""
    if owner.result is None:
        return None
    try:
        return _ANSWER.decode(await load_text(owner.result.body, services.blobs)).status
    except (NotFound, msgspec.DecodeError, RecursionError):  # erased, or no Response
        return None


async def _view(owner: Job, services: Services) -> bytes | None:
    """The job as its view; None if that is too large to be sent."""
    if owner.result is not None and owner.result.body.bytes > LARGEST_VIEW_BYTES:
        return None
    view = msgspec.json.encode(await view_of(owner, services.blobs))
    return view if len(view) <= LARGEST_VIEW_BYTES else None


def _again(job: Job, services: Services, error: JobError, retry_after: float | None = None) -> Answer:
    """Another try later; a dead letter where that would be too late."""
    now = services.clock.now()
    age = now - (job.deadline - LIFESPAN_SECONDS)
    wait = wait_seconds(age, services.chance, retry_after=retry_after)
    if now + wait >= job.deadline:
        return Failed(error=error)
    return Retry(error=error, after_seconds=wait, is_counted=False)


def _ended(
    attempt: Attempt, services: Services, outcome: Outcome, status_code: int | None, error: str | None = None
) -> Attempt:
    return msgspec.structs.replace(
        attempt, outcome=outcome, status_code=status_code, error=error, finished_at=services.clock.now()
    )
