"""What a step asks, and of whom; and the batches that do it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.domain.asking import Asking, Begun, Form
from forebay.domain.batch import BatchArgs, args_of
from forebay.domain.errors import RequestError
from forebay.domain.fanout import Branch, FanoutArgs, How
from forebay.domain.infer_args import Ceiling
from forebay.domain.job import Job
from forebay.domain.pipeline import PIPELINE, StepKind, StepWork
from forebay.domain.record import Record
from forebay.engine.handlers.batch.creation import BatchOrder, make_batch
from forebay.engine.runs import budget_of
from forebay.engine.services import Services
from forebay.policy.requests import RequestOptions, request_body
from forebay.policy.resolution import Resolution
from forebay.policy.steps.asking import Asked, schema_of
from forebay.policy.steps.fanout import FanoutOptions, read_fanout
from forebay.policy.steps.infer import CallOptions, InferOptions, read_infer, read_infer_once
from forebay.ports.asking import Calls

FORM = "form"  # in a batch's metadata
BATCH_KEY = "part:"  # begins the key of a batch's job
FANOUT_ENDPOINT = "/v1/jobs"  # of lines that go to several targets: no model's


class Asks(Record, frozen=True, kw_only=True):
    """A step that asks models, ready to."""

    asked: Asked
    call: CallOptions
    is_once: bool = False

    @property
    def model(self) -> str | None:
        """What the request's own body names."""
        return _own_model(self.asked.request)

    @property
    def has_branches(self) -> bool:
        return self.how not in {None, How.COLLECT}

    @property
    def how(self) -> How | None:
        return None if self.asked.fanout is None else self.asked.fanout.aggregation.how

    @property
    def is_vector(self) -> bool:
        return self.asked.fanout is None and (self.asked.request.endpoint or "").endswith("/embeddings")


def asks_of(work: StepWork, services: Services) -> Asks:
    """Reads a step's options and chooses whom it asks. Raises: RequestError: it can't be asked as it stands."""
    asks = _asks(work, services)
    contents = tuple(one.blob_id for output in work.inputs.values() for one in output.contents)
    return msgspec.structs.replace(asks, asked=msgspec.structs.replace(asks.asked, contents=contents))


def _asks(work: StepWork, services: Services) -> Asks:
    kind, options = work.step.kind, work.step.options
    if kind is StepKind.FANOUT:
        several = read_fanout(options)
        return Asks(asked=_fanned(several, work.scope, services), call=several.call)
    is_once = kind is StepKind.INFER_ONCE
    read = read_infer_once(options) if is_once else read_infer(options)
    return Asks(asked=_asked(read, work.scope, services), call=read.call, is_once=is_once)


def _asked(options: InferOptions, scope: Mapping[str, Any], services: Services) -> Asked:
    request = options.request
    model = request.model or _own_model(request)
    found = services.resolver.resolve(target=options.call.target, model=model, endpoint=request.endpoint)
    return Asked(
        request=msgspec.structs.replace(request, endpoint=found.endpoint),
        place=_place(found, services),
        scope=dict(scope),
        per_call=options.per_call,
    )


def _fanned(options: FanoutOptions, scope: Mapping[str, Any], services: Services) -> Asked:
    branches: list[Branch] = []
    places: list[str] = []
    for branch in options.branches:
        body = branch.body if branch.body is not None else (options.request and options.request.body)
        model = branch.model or _own_model(RequestOptions(body=body))
        found = services.resolver.resolve(target=branch.target, model=model, endpoint=branch.endpoint)
        if branch.body is None and options.request is not None:
            body = _body(options.request, found.endpoint)
        branches.append(msgspec.structs.replace(branch, body=body, endpoint=found.endpoint))
        places.append(_place(found, services))
    return Asked(
        request=RequestOptions(endpoint=FANOUT_ENDPOINT),
        place="; ".join(places),
        scope=dict(scope),
        fanout=FanoutArgs(
            branches=tuple(branches),
            successes=options.successes,
            on_failure=options.on_failure,
            aggregation=options.aggregation,
        ),
    )


def _body(request: RequestOptions, endpoint: str) -> dict[str, Any]:
    """The template of what all branches ask, in the form of one's endpoint."""
    own = request.body if request.prompt is None else request_body(endpoint, request.prompt, request.system)
    return {**own, **request.params}


def _place(found: Resolution, services: Services) -> str:
    """Who answers: another model behind the same name gives other answers, another address of the same does not."""
    told = [found.queue]
    for candidate in found.candidates:
        spec = services.specs[candidate.target]
        told.append(f"{candidate.target} {candidate.model or found.model or spec.model or spec.function or ''}")
    return ", ".join(told)


def _own_model(request: RequestOptions) -> str | None:
    body = request.body if isinstance(request.body, Mapping) else {}
    named = request.params.get("model") or body.get("model")
    return named if isinstance(named, str) and "{" not in named else None


async def make_part(job: Job, cursor: Asking, asks: Asks, calls: Calls, services: Services) -> tuple[Job, Begun]:
    """Makes the batch of some calls, and what is written before it is added."""
    asked, call = asks.asked, asks.call
    form = Form.ALONE if cursor.is_asking_again else asked.form
    now = services.clock.now()
    budgets = await _budgets(job, call, services)
    allowed = job.spec.timeout_seconds
    if call.deadline_seconds is not None and asked.fanout is None:
        allowed = min(allowed, call.deadline_seconds)
    until = min(job.deadline, (job.started_at or now) + allowed)
    fanout = asked.fanout
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
        metadata=call.metadata,
        budgets=budgets,
        fanout=None if fanout is None else msgspec.structs.replace(fanout, budgets=budgets),
        line_seconds=None if fanout is None else call.deadline_seconds,
        is_each_alone=fanout is not None,
    )
    order = BatchOrder(
        args=args,
        lifespan_seconds=max(until - now, 0.0),
        priority=call.priority or job.priority,
        metadata={FORM: form.value},
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
        how=asks.how,
    )
    return batch, begun


def begun_of(batch: Job, asks: Asks) -> Begun:
    """What was written before a batch was added, made again of the batch."""
    return Begun(
        batch_id=batch.id,
        owner=batch.parent_id,
        input_blob_id=args_of(batch.spec.args).input_blob_id or "",
        form=Form(batch.spec.metadata[FORM]),
        schema=asks.asked.request.schema,
        how=asks.how,
    )


async def _budgets(job: Job, call: CallOptions, services: Services) -> tuple[Ceiling, ...]:
    """What the calls of a step spend from: the step's own budget, and the run's, which all its steps share."""
    [run] = await services.jobs.get(job.tenant, [job.parent_id]) if job.parent_id else [None]
    found: list[Ceiling] = []
    if call.budget_usd is not None:
        found.append(Ceiling(name=f"step:{job.id}", usd=call.budget_usd))
    if run is not None and run.kind == PIPELINE:
        budget = await budget_of(run, services)
        if budget.budget_usd is not None or budget.budget_tokens is not None:
            found.append(Ceiling(name=f"job:{run.id}", usd=budget.budget_usd, tokens=budget.budget_tokens))
    elif job.spec.budget_usd is not None:
        found.append(Ceiling(name=f"job:{job.id}", usd=job.spec.budget_usd))
    return tuple(found)


def only_input(work: StepWork) -> str:
    """The step whose records are asked about. Raises: RequestError: there is none, or more than one."""
    tables = [name for name, output in work.inputs.items() if output.table is not None]
    if len(tables) != 1:
        told = f"it has {', '.join(tables)}" if tables else "it has none"
        raise RequestError(
            f"{work.step.kind} reads the records of one step, its `from` or `needs`: {told}", param="from"
        )
    return tables[0]
