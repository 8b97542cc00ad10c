"""One call of a target and its answer, as the Target port passes them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from forebay.domain.attempt import Usage
from forebay.domain.content import BlobInfo
from forebay.domain.form import Form
from forebay.domain.record import Record
from forebay.domain.spawning import Decomposition

Keep = Callable[[AsyncIterator[bytes]], Awaitable[BlobInfo]]  # writes what comes as a blob


class Call(Record, frozen=True, kw_only=True):
    """What a target is asked. ``body`` is JSON with ``body.model`` rewritten already; all else is the client's own."""

    job_id: str
    attempt: int
    endpoint: str  # `/v1/chat/completions`
    body: bytes
    timeout_seconds: float
    model: str | None = None
    is_stream: bool = False
    metadata: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}  # the client's own, that are passed on
    query: str = ""
    form: Form | None = None  # the body as a form, for targets that speak the vendors' wires
    hops: int = 0  # events that led here
    children: Mapping[str, Any] = {}  # what came of the jobs that the last call split its task into
    pending: str | None = None  # the state of the last ``Pending``: ask how it stands, submit nothing (no body either)
    keep: Keep | None = None  # for an answer that is a file, and may be too large to stand in memory
    deadline: float | None = None  # Unix seconds: nobody waits for the answer after it
    idempotency_key: str = ""  # equal for what may be the same submission; another one after its work has failed


class Pending(Record, frozen=True, kw_only=True):
    """The target has accepted the work and goes on with it alone. ``state`` is the target's own JSON, by which it finds
    the work again: a remote id, an address; no secret. ``progress``: from 0 to 1, None where nobody says.
    """

    state: str
    after_seconds: float
    progress: float | None = None


class ResultFile(Record, frozen=True, kw_only=True):
    """Bytes within an answer that is JSON: kept as a file, whose id goes where the ``mark`` stands in the body."""

    mark: str
    content: bytes
    content_type: str
    filename: str = ""


class InferenceResult(Record, frozen=True, kw_only=True):
    """A 2xx answer. ``body`` is JSON as it came, or, by ``content_type``, something else (speech, an image)."""

    status_code: int
    body: bytes
    content_type: str = "application/json"
    file: BlobInfo | None = None  # where ``call.keep`` has put the answer; ``body`` is what there is to say of it, JSON
    files: tuple[ResultFile, ...] = ()
    headers: Mapping[str, str] = {}  # lower-case names; rate limits are read from them
    usage: Usage | None = None  # None: the target didn't say
    cost_usd: float | None = None  # None: the price is unknown
    request_id: str | None = None
    model: str | None = None
    split: Decomposition | None = None  # the answer is no answer yet: the task was split
    pending: Pending | None = None  # likewise: the target is to be asked later
