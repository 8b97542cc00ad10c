"""One wake of a run: what its children have become, and what may begin now."""

from typing import Any

from msgspec.structs import replace

from forebay.domain.content import Segment
from forebay.domain.job import DEAD, Job, Status
from forebay.domain.pipeline import (
    RunArgs,
    RunCursor,
    StepOutcome,
    StepOutput,
    StepSpec,
    StepState,
    StepStatus,
    StepWork,
    run_cursor,
    run_job_id,
    segments_of,
    step_outcome,
)
from forebay.domain.query import JobQuery, Parts
from forebay.engine.handlers.pipeline.making import make_step
from forebay.engine.handlers.pipeline.memory import fingerprint_of, is_there, recall, remember
from forebay.engine.intake import load_text
from forebay.engine.runs import scope_of
from forebay.engine.services import Services
from forebay.policy.matching import EventPattern
from forebay.policy.windows import opens_at

MADE = frozenset({StepStatus.SUCCEEDED, StepStatus.REUSED})
OVER = MADE | {StepStatus.SKIPPED}
MOST_CHILDREN = 1000  # of a run: its steps, and their earlier rounds


class Advance:
    """The states of a run's steps, as they are and as this wake makes them."""

    def __init__(self, job: Job, args: RunArgs, cursor: RunCursor, services: Services) -> None:
        self.states = {step.name: cursor.steps.get(step.name, StepState()) for step in args.pipeline.steps}
        self.children: list[Job] = []  # to be added
        self.segments: list[Segment] = []  # of what was taken over from earlier runs
        self.live = 0
        self.wake_at: float | None = None
        self._job = job
        self._args = args
        self._services = services
        self._steps = {step.name: step for step in args.pipeline.steps}
        self._scope = scope_of(job, args)
        self._anew = _downstream(args)
        self._earlier: dict[str, StepState] | None = None

    @property
    def failed(self) -> str | None:
        """The first step that failed, or was cancelled."""
        dead = {StepStatus.FAILED, StepStatus.CANCELLED}
        return next((name for name, state in self.states.items() if state.status in dead), None)

    async def look(self) -> None:
        """Takes over what the children have become. A dead step may have been retried: its child is asked, always."""
        query = JobQuery(tenant=self._job.tenant, parent_id=self._job.id, limit=MOST_CHILDREN, parts=Parts(result=True))
        children = {child.id: child for child in await self._services.jobs.find(query)}
        for name, state in self.states.items():
            child = children.get(state.job_id or "")
            if child is None:
                continue
            self.live += not child.is_terminal
            status = _status_of(child)
            if status is not state.status:
                self.states[name] = await self._changed(name, state, child, status)

    async def begin(self) -> None:
        """Begins every step whose needs are met. They stand in the order of their needs: one that is taken over, or
        skipped, is known before those that wait for it.
        """
        for name, state in self.states.items():
            if state.status is StepStatus.QUEUED and state.job_id is None:
                self.states[name] = await self._next(self._steps[name], state)

    def holds(self, step: StepSpec) -> bool:
        """Whether the step's condition lets it begin."""
        return step.when is None or EventPattern(step.when).matches(self._seen())

    def cancelled(self) -> dict[str, StepState]:
        """The states, where nothing more is to begin."""
        never = {StepStatus.QUEUED, StepStatus.RUNNING}
        return {
            name: replace(state, status=StepStatus.CANCELLED) if state.status in never else state
            for name, state in self.states.items()
        }

    async def _changed(self, name: str, state: StepState, child: Job, status: StepStatus) -> StepState:
        outcome = await _outcome_of(child, self._services)
        if status is StepStatus.SUCCEEDED and outcome is not None and state.fingerprint:
            work = self.work_of(self._steps[name])
            made = await remember(work, state.fingerprint, outcome, self._services)
            state = replace(state, fingerprint=made)
        return replace(
            state,
            status=status,
            outcome=outcome or state.outcome,
            error=child.error if child.status in DEAD else None,
            started_at=child.started_at,
            finished_at=child.finished_at,
        )

    async def _next(self, step: StepSpec, state: StepState) -> StepState:
        needed = [self.states[name].status for name in step.needs]
        if StepStatus.SKIPPED in needed and all(status in OVER for status in needed):
            return replace(state, status=StepStatus.SKIPPED)
        if not all(status in MADE for status in needed):
            return state
        if not self.holds(step):
            return replace(state, status=StepStatus.SKIPPED)
        work = self.work_of(step)
        fingerprint = await fingerprint_of(work, self._services)
        earlier = await self.taken_over(work, fingerprint)
        if earlier is not None:
            self.segments.extend(segments_of((earlier.outcome or StepOutcome()).output))
            return earlier
        windows = step.windows or self._args.pipeline.windows
        if windows and (opening := opens_at(windows, self._services.clock.now())) > self._services.clock.now():
            self.wake_at = min(opening, self.wake_at or opening)
            return state
        child = make_step(self._job, work, self._services)
        self.children.append(child)
        return replace(state, status=StepStatus.RUNNING, job_id=child.id, fingerprint=fingerprint or "")

    async def taken_over(self, work: StepWork, fingerprint: str | None) -> StepState | None:
        """What an earlier run made of the same; None: it is to be made anew."""
        step = work.step
        if fingerprint is None or self._args.is_fresh or step.name in self._anew:
            return None
        if self._args.since is not None:
            known = (await self._since()).get(step.name)
            if known is None or known.fingerprint != fingerprint or known.outcome is None:
                return None
            outcome, origin = known.outcome, known.from_run or self._args.since
        else:
            memory = await recall(work, self._services)
            if memory is None or memory.fingerprint != fingerprint:
                return None
            outcome, origin = memory.outcome, memory.run_id
        if not await is_there(outcome, self._services):
            return None
        counts = replace(outcome.counts, reused=outcome.counts.succeeded)
        taken = replace(outcome, counts=counts, usage=None, cost_usd=None, calls=0)
        return StepState(status=StepStatus.REUSED, outcome=taken, fingerprint=fingerprint, from_run=origin)

    async def _since(self) -> dict[str, StepState]:
        """The steps of the run that this one is to go on from."""
        if self._earlier is None:
            [run] = await self._services.jobs.get(self._job.tenant, [run_job_id(self._args.since or "")])
            steps = run_cursor(run.progress).steps if run else {}
            self._earlier = {name: state for name, state in steps.items() if state.status in MADE}
        return self._earlier

    def work_of(self, step: StepSpec) -> StepWork:
        """The step's work, with what its inputs have made."""
        return StepWork(
            run_id=self._job.id,
            pipeline=self._args.pipeline.name,
            step=step,
            inputs={name: self._output(name) for name in step.inputs},
            scope=self._scope,
            folder=self._args.pipeline.folder,
            tenant=self._job.tenant,
            hops=self._args.hops,
            uploads=self._args.uploads,
            is_fresh=self._args.is_fresh,
        )

    def _output(self, name: str) -> StepOutput:
        outcome = self.states[name].outcome
        return outcome.output if outcome else StepOutput()

    def _seen(self) -> dict[str, Any]:
        """What a condition sees: the run, its parameters, and each step that has ended."""
        seen = dict(self._scope)
        for name, state in self.states.items():
            if state.status in OVER and name not in seen:
                outcome = state.outcome or StepOutcome()
                table = outcome.output.table
                seen[name] = {
                    "status": state.status.value,
                    "rows": table.rows if table else 0,
                    "failed": outcome.counts.failed,
                    "value": outcome.output.value,
                }
        return seen


def _downstream(args: RunArgs) -> frozenset[str]:
    """The step that a run begins from, and all that comes after it."""
    if args.from_step is None:
        return frozenset()
    found = {args.from_step}
    for step in args.pipeline.steps:  # in the order of their needs
        if found & set(step.needs):
            found.add(step.name)
    return frozenset(found)


def _status_of(child: Job) -> StepStatus:
    match child.status:
        case Status.SUCCEEDED:
            return StepStatus.SUCCEEDED
        case Status.FAILED:
            return StepStatus.FAILED
        case Status.CANCELLED:
            return StepStatus.CANCELLED
    return StepStatus.RUNNING


async def _outcome_of(child: Job, services: Services) -> StepOutcome | None:
    return None if child.result is None else step_outcome(await load_text(child.result.body, services.blobs))
