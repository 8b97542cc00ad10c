"""Joining: when the branches of a fan-out have decided it, and until when to wait otherwise. Pure."""

from forebay.domain.fanout import BRANCH_FAILED, JOIN_DEADLINE, NO_QUORUM, NO_SUCCESS, NOT_NEEDED, FanoutArgs, OnFailure
from forebay.domain.job import JobError, Join
from forebay.domain.record import Record


class Standing(Record, frozen=True, kw_only=True):
    """How the branches stand."""

    succeeded: int
    dead: int  # failed, cancelled, or never made into a job
    live: int
    is_late: bool  # the join's deadline has passed

    @property
    def total(self) -> int:
        return self.succeeded + self.dead + self.live


class Decision(Record, frozen=True, kw_only=True):
    """``error`` None: the fan-out succeeds. ``code``: why branches that are live are not waited for."""

    error: JobError | None = None
    code: str = NOT_NEEDED


def decide_join(args: FanoutArgs, standing: Standing, until: float) -> Decision | Join:
    """What the branches have decided, or what to wait for; not beyond ``until``."""
    needed = args.needed
    code = JOIN_DEADLINE if standing.is_late else NOT_NEEDED
    if needed is not None and standing.succeeded >= needed:
        return Decision(code=NOT_NEEDED)
    spare = None if needed is None else standing.total - needed - standing.dead  # failures that can be borne
    if spare is not None and spare < 0:
        return Decision(error=_failure(args, standing), code=NOT_NEEDED)
    if standing.live and not standing.is_late:
        live = 0 if spare is None else max(0, standing.live - spare - 1)
        return Join(successes=needed, live=live, until=until)
    if needed is None and standing.succeeded:
        return Decision(code=code)
    return Decision(error=_failure(args, standing), code=code)


def _failure(args: FanoutArgs, standing: Standing) -> JobError:
    late = f" by the deadline, {standing.live} of them still under way" if standing.is_late and standing.live else ""
    if args.successes is None and args.on_failure is OnFailure.FAIL:
        message = f"{standing.total - standing.succeeded} of {standing.total} branches did not succeed{late}"
        return JobError(code=BRANCH_FAILED, message=message)
    if args.successes is None or args.successes == 1:
        return JobError(code=NO_SUCCESS, message=f"None of {standing.total} branches succeeded{late}")
    message = f"{standing.succeeded} of {standing.total} branches succeeded{late}, where {args.successes} are needed"
    return JobError(code=NO_QUORUM, message=message)
