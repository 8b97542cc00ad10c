"""Job: the only durable unit of work. A group (batch, fan-out, pipeline) is a job that waits for its children."""

from enum import StrEnum

from forebay.domain.attempt import Attempt, Usage
from forebay.domain.content import Content, Segment
from forebay.domain.record import Record


class Status(StrEnum):
    """The six states. ``queued`` is new, delayed, retrying and snoozed alike: claimable once ``due_at`` has passed."""

    QUEUED = "queued"
    RUNNING = "running"  # leased by a worker
    WAITING = "waiting"  # on children
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the dead letters
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
LIVE = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})
DEAD = frozenset({Status.FAILED, Status.CANCELLED})


#: How often the worker of a job that runs alone dies before the job is held as poison. The end of a group costs what
#: its lines have paid, and a worker may die of other things: the deaths of a group count in a row, and more are needed.
POISON_DEATHS = 2
POISON_DEATHS_OF_A_GROUP = 5


class Ending(StrEnum):
    """Why a live job was asked from outside to end. A group finishes its handler first; then it ends so."""

    CANCEL = "cancel"  # ends `cancelled`
    EXPIRE = "expire"  # ends `failed`, code `expired`


class OnUnknown(StrEnum):
    """What becomes of a job whose worker died in mid-call: the answer may have been paid for."""

    RETRY = "retry"
    HOLD = "hold"  # a dead letter, code `outcome_unknown`, for a person to decide


class ErrorCode(StrEnum):
    """The ``error.code`` of a job that did not succeed."""

    TARGET_REJECTED = "target_rejected"
    TARGET_UNAVAILABLE = "target_unavailable"
    TARGET_TIMEOUT = "target_timeout"
    INVALID_OUTPUT = "invalid_output"
    EXPIRED = "expired"
    BUDGET_EXCEEDED = "budget_exceeded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    POISON = "poison"
    TEMPLATE_FIELD_MISSING = "template_field_missing"
    CANCELLED = "cancelled"
    STREAM_INTERRUPTED = "stream_interrupted"
    INVALID_INPUT = "invalid_input"  # a batch whose input file has errors; they stand in its output
    INTERNAL = "internal_error"  # a handler raised what nobody foresaw


class JobError(Record, frozen=True, kw_only=True):
    """Why a job failed: a code for programs, a sentence for people (no secret, no prompt in it)."""

    code: str
    message: str


class Join(Record, frozen=True, kw_only=True):
    """When a waiting job is woken: ``successes`` children succeeded, or at most ``live`` are live, or it is ``until``.

    All = ``Join()``; first = ``Join(successes=1)``; quorum = ``Join(successes=k)``; sliding window = ``Join(live=n)``.
    """

    successes: int | None = None
    live: int = 0
    until: float | None = None


class Notice(Record, frozen=True, kw_only=True):
    """A job that is added in the same transaction that ends its owner (an outbox). Root jobs alone have notices.

    The store adds it with key ``end:<owner's id>:<place in on_end>``, a root of the owner's tenant, and its
    ``spec.args`` is ``args`` with the members ``job_id`` and ``status`` of the ended owner. Its ``spec.metadata`` is
    ``metadata`` with the member ``job_id``, where there is any. ``statuses``: the ends that it is for; empty: all.
    """

    kind: str
    queue: str
    args: str = "{}"  # a JSON object
    lifespan_seconds: float = 3 * 86_400
    statuses: tuple[Status, ...] = ()
    metadata: dict[str, str] = {}


class Spec(Record, frozen=True, kw_only=True):
    """The unchanging part of a job: what to do and under which conditions. A store keeps it as one JSON text."""

    target: str | None = None
    model: str | None = None  # as asked for; the attempt has the model that was called
    endpoint: str | None = None
    timeout_seconds: float = 600.0  # one call
    max_attempts: int = 5
    on_unknown: OnUnknown = OnUnknown.RETRY
    budget_usd: float | None = None
    stream: bool = False
    keep_call: bool = False  # when cancelled in mid-call, the call may finish and its answer is kept (lines of a batch)
    data_class: str | None = None
    metadata: dict[str, str] = {}
    args: str | None = None  # JSON: the handler's own arguments, shaped by its kind


class Result(Record, frozen=True, kw_only=True):
    """The model's answer as it came: the HTTP status (None where there is none) and the body."""

    status_code: int | None
    body: Content
    request_id: str | None = None  # the upstream's x-request-id


class Taken(Record, frozen=True, kw_only=True):
    """What a group has taken over from children by ``collect``: their sums, kept because their rows are gone."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Job(Record, frozen=True, kw_only=True):
    """One durable unit of work. The first block never changes after ``add``; the second is its state."""

    id: str
    kind: str  # chooses the handler
    queue: str  # one target's lane, one route, or `control`; see domain.lane
    created_at: float
    deadline: float
    tenant: str = "default"
    parent_id: str = ""  # '' for a root, never NULL
    key: str = ""  # unique by (tenant, parent_id, key); '' is no key
    fingerprint: str = ""  # hash of the request that made it: tells a repeat from a conflict
    origin: str = ""  # hash of (API key, path, body) where an SDK may repeat the request on its own; else ''
    is_group: bool = False  # waits for children: never ended from outside
    awaited: bool = False  # a client holds its connection: goes before the queued work of its lane
    priority: int = 0  # -100..100, higher first
    tokens: int = 0  # estimated, input and output: what the fair rank and token limits charge
    weight: float = 1.0  # the tenant's share in fair ranking
    not_before: float | None = None
    spec: Spec = Spec()
    body: Content | None = None  # the request's body, JSON, verbatim
    on_end: tuple[Notice, ...] = ()
    blobs: tuple[str, ...] = ()  # blobs this job refers to beside body and result (a batch's input)

    status: Status = Status.QUEUED
    ending: Ending | None = None
    due_at: float = 0.0
    started_at: float | None = None  # of the first claim
    finished_at: float | None = None
    attempt_count: int = 0  # calls in the ledger
    attempts_used: int = 0  # those that count towards max_attempts
    rescues: int = 0  # leases lost with a call begun; of a group, whose runs make none: leases lost in a row
    lone_rescues: int = 0  # of these, while running alone as a suspect
    progress: str | None = None  # the handler's durable cursor, JSON with a `version`
    join: Join | None = None
    taken: Taken = Taken()
    result: Result | None = None
    error: JobError | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    attempts: tuple[Attempt, ...] = ()  # filled where a read asks for them
    segments: tuple[Segment, ...] = ()  # likewise

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def lifespan_seconds(self) -> float:
        """The length of the deadline, which ``retry`` gives anew."""
        return self.deadline - (self.not_before or self.created_at)
