"""Pipeline: steps over tables, and the run of one. What the jobs of a run carry, their cursors, and what they answer.

A run is a job of kind ``pipeline``, a group; each of its steps is a child, of kind ``step`` (one piece of work over
tables) or of kind ``inference`` (a group over model requests). Tables are Parquet blobs.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.content import Segment
from forebay.domain.job import JobError
from forebay.domain.record import Record

PIPELINE = "pipeline"  # the kinds of jobs
STEP = "step"
INFERENCE = "inference"
RUN_KINDS = (PIPELINE, STEP, INFERENCE)
RUN_BUDGET = "run_budget"  # the kind of the records of raised budgets
MEMORY = "step_memory"  # the kind of the records that remember what a step has made: `<pipeline>/<step>`
TABLE = "table"  # streams of segments of a step's job
REJECTED = "rejected"
CONTENT = "content"
MOST_VALUE_BYTES = 262_144  # of a step's value, which stands in cursors
TOO_MANY_FAILURES = "too_many_failures"  # codes of a step that failed
STEP_FAILED = "step_failed"
SOURCE_FAILED = "source_failed"
SINK_FAILED = "sink_failed"


class StepKind(StrEnum):
    """What a step does; the key that it has in the configuration."""

    READ = "read"
    SQL = "sql"
    PYTHON = "python"
    CHUNK = "chunk"
    DEDUPE = "dedupe"
    INFER = "infer"
    INFER_ONCE = "infer_once"
    FANOUT = "fanout"
    INDEX = "index"
    REPORT = "report"
    WRITE = "write"
    NOTIFY = "notify"
    PUBLISH = "publish"
    CALL = "call"


INFERENCE_KINDS = frozenset({StepKind.INFER, StepKind.INFER_ONCE, StepKind.FANOUT})
EFFECT_KINDS = frozenset({StepKind.NOTIFY, StepKind.PUBLISH, StepKind.CALL})  # never taken from an earlier run


class Overlap(StrEnum):
    """What a firing does while a run of the pipeline is live."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which missed firings are made up for."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class TriggerType(StrEnum):
    """What makes a run begin."""

    MANUAL = "manual"
    CRON = "cron"
    RATE = "rate"
    AT = "at"
    FILES = "files"
    EVENT = "event"
    UPLOAD = "upload"
    PIPELINE = "pipeline"  # another run's `call`


class Trigger(Record, frozen=True, kw_only=True):
    """One entry of ``on``. ``name`` is the schedule's. Which of the fields are set follows from the type."""

    name: str
    type: TriggerType
    cron: str | None = None
    timezone: str = "UTC"
    every_seconds: float | None = None  # rate
    at: float | None = None
    files: str | None = None  # a path or address with wildcards
    pattern: Any = None  # event
    window_seconds: float = 0.0  # flexible: it fires at some instant within it
    params: dict[str, Any] = {}


class Tolerance(Record, frozen=True, kw_only=True):
    """How many failed records a step survives: a number, or a share (0.01) of what went in."""

    count: int | None = None
    share: float | None = None


class Window(Record, frozen=True, kw_only=True):
    """A daily time window: minutes of the day in a time zone; ``until_minute`` below ``from_minute`` spans midnight."""

    from_minute: int
    until_minute: int
    timezone: str = "UTC"


class StepSpec(Record, frozen=True, kw_only=True):
    """A step as declared. ``options`` are its kind's own, as written: a mapping (``{"query": …}`` for a bare text).

    ``inputs``: the steps whose output it reads, in the order of ``from``, its SQL or template, ``needs``;
    ``needs``: all that must have succeeded before it, ``inputs`` among them.
    """

    name: str
    kind: StepKind
    options: dict[str, Any] = {}
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    when: Any = None  # a pattern of an event, over params, run and the steps that have ended
    retries: int = 2
    timeout_seconds: float = 3600.0
    tolerance: Tolerance = Tolerance(count=0)
    windows: tuple[Window, ...] = ()


class Pipeline(Record, frozen=True, kw_only=True):
    """A pipeline as declared. ``folder``: what its relative paths are relative to."""

    name: str
    steps: tuple[StepSpec, ...]
    triggers: tuple[Trigger, ...] = ()
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.NONE
    catch_up_limit: int = 100
    budget_usd: float | None = None
    budget_tokens: int | None = None
    params: dict[str, Any] = {}  # with their defaults
    description: str | None = None
    folder: str = "."
    windows: tuple[Window, ...] = ()


class TableRef(Record, frozen=True, kw_only=True):
    """A table: Parquet in a blob. ``columns``: names and DuckDB's types, in order; ``digest``: of its content."""

    blob_id: str
    bytes: int
    rows: int
    columns: dict[str, str]
    digest: str


class InputFile(Record, frozen=True, kw_only=True):
    """A file that a step has read. ``digest``: its sha256, or what the store of objects says in its place."""

    path: str
    bytes: int
    digest: str


class Counts(Record, frozen=True, kw_only=True, rename={"entered": "in"}):
    """Records of a step."""

    entered: int = 0
    succeeded: int = 0
    failed: int = 0
    reused: int = 0  # of the succeeded: paid for by an earlier run


class StepOutput(Record, frozen=True, kw_only=True):
    """What a step has made: a table, or a value (JSON), and what is told of both.

    ``rejected``: the records that failed, each with ``error`` ({code, message}); ``files``: places written to, with
    digests; ``sources``: files read; ``contents``: blobs that the table's rows refer to.
    """

    table: TableRef | None = None
    value: Any = None
    rejected: TableRef | None = None
    files: tuple[InputFile, ...] = ()
    sources: tuple[InputFile, ...] = ()
    contents: tuple[Segment, ...] = ()


class StepOutcome(Record, frozen=True, kw_only=True):
    """The answer of one step's work."""

    output: StepOutput = StepOutput()
    counts: Counts = Counts()
    usage: Usage | None = None  # None: it makes no calls, or nobody knows
    cost_usd: float | None = None
    calls: int = 0


class Upload(Record, frozen=True, kw_only=True):
    """A file of the API that a run was given as a parameter: the run refers to its blob."""

    filename: str
    bytes: int
    blob_id: str


class StepWork(Record, frozen=True, kw_only=True):
    """One step's work, whole: what a connector needs to do it. ``scope``: ``run`` and ``params``, for templates.
    ``uploads``: by the ids that stand in place of a path.
    """

    run_id: str
    pipeline: str
    step: StepSpec
    inputs: dict[str, StepOutput] = {}
    scope: dict[str, Any] = {}
    folder: str = "."
    tenant: str = "default"
    hops: int = 0  # events that led here
    uploads: dict[str, Upload] = {}
    is_fresh: bool = False  # nothing that earlier runs have paid for is taken over


class StepStatus(StrEnum):
    """Where a step of a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"  # its condition did not hold, or a step that it needs was skipped
    REUSED = "reused"  # nothing that it depends on changed since an earlier run
    CANCELLED = "cancelled"


class StepState(Record, frozen=True, kw_only=True):
    """One step in a run's cursor. ``fingerprint``: of its definition and inputs; ``from_run``: where it was made."""

    status: StepStatus = StepStatus.QUEUED
    job_id: str | None = None
    outcome: StepOutcome | None = None
    error: JobError | None = None
    fingerprint: str = ""
    from_run: str | None = None
    started_at: float | None = None
    finished_at: float | None = None


class RunTrigger(Record, frozen=True, kw_only=True):
    """What began a run, as the run view tells it. ``detail``: the event's or file's own (JSON)."""

    type: TriggerType = TriggerType.MANUAL
    name: str | None = None
    fire_time: float | None = None
    detail: Any = None


class RunArgs(Record, frozen=True, kw_only=True):
    """``spec.args`` of a run. Its definition is its own: a changed configuration changes no run under way."""

    pipeline: Pipeline
    params: dict[str, Any] = {}
    trigger: RunTrigger = RunTrigger()
    from_step: str | None = None  # this one and all after it are made again
    since: str | None = None  # the run whose steps are taken over where nothing changed; None: the latest that has them
    is_fresh: bool = False  # nothing is taken over
    hops: int = 0  # events that led here
    uploads: dict[str, Upload] = {}
    settings: dict[str, Any] = {}  # targets and models as they were, for the record


class RunCursor(Record, frozen=True, kw_only=True):
    """``progress`` of a run."""

    version: int = 1
    steps: dict[str, StepState] = {}
    counted_usage: Usage | None = None  # what is in the job's own sums, from an end before it was resumed
    counted_usd: float = 0.0


class StepMemory(Record, frozen=True, kw_only=True):
    """``data`` of what is remembered of a step from one run to the next: what it made, and of what."""

    fingerprint: str
    outcome: StepOutcome
    run_id: str


class RunBudget(Record, frozen=True, kw_only=True):
    """``data`` of the record of a budget that was raised as a run was resumed; its id is the run's job's."""

    budget_usd: float | None = None
    budget_tokens: int | None = None


_ARGS = msgspec.json.Decoder(RunArgs)
_CURSOR = msgspec.json.Decoder(RunCursor)
_WORK = msgspec.json.Decoder(StepWork)
_OUTCOME = msgspec.json.Decoder(StepOutcome)
_MEMORY = msgspec.json.Decoder(StepMemory)
_BUDGET = msgspec.json.Decoder(RunBudget)


def run_args(text: str | None) -> RunArgs:
    """Reads a run's arguments."""
    return _ARGS.decode(text or "{}")


def run_cursor(progress: str | None) -> RunCursor:
    """Reads a run's progress; a new run has none."""
    return _CURSOR.decode(progress) if progress else RunCursor()


def step_work(text: str | None) -> StepWork:
    """Reads the arguments of a step's job: its work."""
    return _WORK.decode(text or "{}")


def step_outcome(text: str | None) -> StepOutcome:
    """Reads the result of a step's job."""
    return _OUTCOME.decode(text or "{}")


def step_memory(text: str) -> StepMemory:
    """Reads the data of a step's record."""
    return _MEMORY.decode(text)


def run_budget(text: str) -> RunBudget:
    """Reads the data of a raised budget."""
    return _BUDGET.decode(text)


def run_id(job_id: str) -> str:
    """``job_…`` as its run is called."""
    return "run_" + job_id.removeprefix("job_")


def run_job_id(named: str) -> str:
    """The job of a run, which may be named by its own id too; of any other text, an id that no job has."""
    if named.startswith("job_"):
        return named
    return "job_" + named.removeprefix("run_") if named.startswith("run_") else ""


def segments_of(output: StepOutput) -> tuple[Segment, ...]:
    """The references that keep an output's blobs while the job lives that made it, or took it over."""
    tables = ((TABLE, output.table), (REJECTED, output.rejected))
    made = tuple(
        Segment(name=name, blob_id=table.blob_id, lines=table.rows, bytes=table.bytes)
        for name, table in tables
        if table is not None
    )
    return (*made, *output.contents)


def with_contents(output: StepOutput, inputs: Mapping[str, StepOutput]) -> StepOutput:
    """The output of a step, keeping what its inputs' rows refer to as long as its own rows may."""
    if output.table is None and output.rejected is None:
        return output
    kept = {one.blob_id: one for made in (output, *inputs.values()) for one in made.contents}
    return msgspec.structs.replace(output, contents=tuple(kept.values()))
