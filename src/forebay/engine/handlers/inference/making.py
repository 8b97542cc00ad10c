"""What a step asks, and of whom; and the batches that do it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.domain.asking import Asking, Begun, Form
from forebay.domain.batch import BatchArgs
from forebay.domain.errors import RequestError
from forebay.domain.fanout import How
from forebay.domain.job import Job
from forebay.domain.pipeline import StepKind, StepWork
from forebay.domain.record import Record
from forebay.engine.handlers.batch.creation import BatchOrder, make_batch
from forebay.engine.services import Services
from forebay.policy.steps.asking import Asked, schema_of
from forebay.policy.steps.infer import CallOptions, InferOptions, read_infer, read_infer_once
from forebay.ports.asking import Calls

BATCH_KEY = "part:"  # begins the key of a batch's job


class Asks(Record, frozen=True, kw_only=True):
    """A step that asks models, ready to. ``model``: what the resolver chose, where the request names none."""

    asked: Asked
    call: CallOptions
    is_once: bool = False

    @property
    def has_branches(self) -> bool:
        fanout = self.asked.fanout
        return fanout is not None and fanout.aggregation.how is not How.COLLECT

    @property
    def is_vector(self) -> bool:
        return (self.asked.request.endpoint or "").endswith("/embeddings")


def asks_of(work: StepWork, services: Services) -> Asks:
    """Reads a step's options and chooses whom it asks. Raises: RequestError: it can't be asked as it stands."""
    kind, options = work.step.kind, work.step.options
    is_once = kind is StepKind.INFER_ONCE
    read = read_infer_once(options) if is_once else read_infer(options)
    return Asks(asked=_asked(read, work.scope, services), call=read.call, is_once=is_once)


def _asked(options: InferOptions, scope: Mapping[str, Any], services: Services) -> Asked:
    request = options.request
    model = request.model or _named_model(options)
    found = services.resolver.resolve(target=options.call.target, model=model, endpoint=request.endpoint)
    return Asked(
        request=msgspec.structs.replace(request, endpoint=found.endpoint),
        place=f"{found.queue} {found.model or ''}",
        scope=dict(scope),
        per_call=options.per_call,
    )


def _named_model(options: InferOptions) -> str | None:
    body = options.request.body if isinstance(options.request.body, Mapping) else {}
    named = options.request.params.get("model") or body.get("model")
    return named if isinstance(named, str) and "{" not in named else None


async def make_part(job: Job, cursor: Asking, asks: Asks, calls: Calls, services: Services) -> tuple[Job, Begun]:
    """Makes the batch of some calls, and what is written before it is added."""
    asked, call = asks.asked, asks.call
    form = Form.ALONE if cursor.is_asking_again else asked.form
    now = services.clock.now()
    allowed = min(job.spec.timeout_seconds, call.deadline_seconds or job.spec.timeout_seconds)
    until = min(job.deadline, (job.started_at or now) + allowed)
    args = BatchArgs(
        input_file_id="",
        input_blob_id=calls.blob.id,
        endpoint=asked.request.endpoint or "",
        target=call.target,
        model=asked.request.model,
        schema=schema_of(form, asked.request.schema),
        max_attempts=call.max_attempts,
        timeout_seconds=call.timeout_seconds,
        on_unknown=call.on_unknown,
        requests=calls.lines,
    )
    order = BatchOrder(
        args=args,
        lifespan_seconds=max(until - now, 0.0),
        priority=call.priority or job.priority,
        budget_usd=job.spec.budget_usd,
        key=f"{BATCH_KEY}{cursor.parts}",
    )
    batch = await make_batch(order, services, tenant=job.tenant)
    batch = msgspec.structs.replace(batch, parent_id=job.id, on_end=())
    begun = Begun(
        batch_id=batch.id,
        owner=job.id,
        input_blob_id=calls.blob.id,
        form=form,
        records=calls.records,
        lines=calls.lines,
        schema=asked.request.schema,
    )
    return batch, begun


def only_input(work: StepWork) -> str:
    """The step whose records are asked about. Raises: RequestError: there is none, or more than one."""
    tables = [name for name, output in work.inputs.items() if output.table is not None]
    if len(tables) != 1:
        told = f"it has {', '.join(tables)}" if tables else "it has none"
        raise RequestError(
            f"{work.step.kind} reads the records of one step, its `from` or `needs`: {told}", param="from"
        )
    return tables[0]
