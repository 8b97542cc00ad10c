"""A dry run: the steps that cost nothing are done aside, and of those that ask models it is told what they would ask.

Nothing is called, kept, or written outside.
"""

from enum import StrEnum

from msgspec.structs import replace

from forebay.domain.errors import RequestError, TargetError
from forebay.domain.job import Job
from forebay.domain.pipeline import (
    INFERENCE_KINDS,
    Pipeline,
    StepKind,
    StepSpec,
    StepState,
    StepStatus,
    StepWork,
    run_args,
    run_cursor,
    segments_of,
)
from forebay.domain.record import Record
from forebay.engine.erasure import drop
from forebay.engine.handlers.inference.dry import expect
from forebay.engine.handlers.pipeline.advance import Advance
from forebay.engine.handlers.pipeline.memory import fingerprint_of
from forebay.engine.runs import RunOrder, make_run
from forebay.engine.services import Services
from forebay.policy.expectation import Expectation

FREE = frozenset({StepKind.READ, StepKind.SQL, StepKind.PYTHON, StepKind.CHUNK, StepKind.DEDUPE})


class Foreseen(StrEnum):
    """What is known of a step before a run."""

    REUSED = "reused"  # nothing changed: it would be taken over
    COMPUTED = "computed"  # done aside
    EXPECTED = "expected"  # it would ask models: see ``expectation``
    UNKNOWN = "unknown"  # it depends on what models will say
    EFFECT = "effect"  # it acts outside, and was not done
    SKIPPED = "skipped"
    FAILED = "failed"


class StepForecast(Record, frozen=True, kw_only=True):
    """One step."""

    name: str
    kind: StepKind
    status: Foreseen
    records: int | None = None  # that it would give
    expectation: Expectation | None = None
    problem: str | None = None


class Forecast(Record, frozen=True, kw_only=True):
    """A dry run. ``cost_usd``: at most, of what is known; None: a price is unknown. ``is_whole``: all is known."""

    pipeline: str
    steps: list[StepForecast]
    to_send: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    is_whole: bool


async def forecast(pipeline: Pipeline, order: RunOrder, services: Services, *, tenant: str = "default") -> Forecast:
    """Foresees a run. Raises: RequestError: it can't be begun as it is ordered."""
    foresight = _Foresight(await make_run(pipeline, order, services, tenant=tenant), services)
    try:
        steps = [await foresight.step(step) for step in pipeline.steps]
    finally:
        await foresight.clean()
    expected = [step.expectation for step in steps if step.expectation is not None]
    costs = [one.cost_usd for one in expected]
    return Forecast(
        pipeline=pipeline.name,
        steps=steps,
        to_send=sum(one.to_send for one in expected),
        input_tokens=sum(one.input_tokens for one in expected),
        output_tokens=sum(one.output_tokens for one in expected),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        is_whole=all(step.status is not Foreseen.UNKNOWN for step in steps),
    )


class _Foresight:
    """The states of a run that is never added."""

    def __init__(self, job: Job, services: Services) -> None:
        self._advance = Advance(job, run_args(job.spec.args), run_cursor(None), services)
        self._services = services
        self._made: list[str] = []  # blobs

    async def step(self, step: StepSpec) -> StepForecast:
        states = self._advance.states
        told = StepForecast(name=step.name, kind=step.kind, status=Foreseen.UNKNOWN)
        if any(states[name].status is StepStatus.SKIPPED for name in step.needs):
            return self._skipped(step, told)
        if any(states[name].outcome is None for name in step.inputs):
            return told
        if not self._advance.holds(step):
            return self._skipped(step, told)
        work = self._advance.work_of(step)
        earlier = await self._advance.taken_over(work, await fingerprint_of(work, self._services))
        if earlier is not None and earlier.outcome is not None:
            states[step.name] = earlier
            return replace(told, status=Foreseen.REUSED, records=earlier.outcome.counts.succeeded)
        try:
            return await self._foreseen(work, told)
        except (RequestError, TargetError) as error:
            return replace(told, status=Foreseen.FAILED, problem=str(error))

    async def clean(self) -> None:
        """Deletes what was made aside."""
        await drop(self._made, self._services)

    async def _foreseen(self, work: StepWork, told: StepForecast) -> StepForecast:
        if work.step.kind in INFERENCE_KINDS:
            return replace(told, status=Foreseen.EXPECTED, expectation=await expect(work, self._services))
        if work.step.kind not in FREE or self._services.tables is None:
            return replace(told, status=Foreseen.EFFECT)
        outcome = await self._services.tables.run(work)
        self._made += [segment.blob_id for segment in segments_of(outcome.output)]
        self._advance.states[work.step.name] = StepState(status=StepStatus.SUCCEEDED, outcome=outcome)
        return replace(told, status=Foreseen.COMPUTED, records=outcome.counts.succeeded)

    def _skipped(self, step: StepSpec, told: StepForecast) -> StepForecast:
        self._advance.states[step.name] = StepState(status=StepStatus.SKIPPED)
        return replace(told, status=Foreseen.SKIPPED)
