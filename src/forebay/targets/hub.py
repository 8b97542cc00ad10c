"""Target of type ``forebay``: another Forebay's server. Work waits here while the hub is away, and is one job there.

A submission's key is stable, so that one whose end nobody knows is sent again without harm: a hub that breaks off is a
hub that is away, and uses no attempt. The hub makes its own attempts; what it has given up is given up here.
"""

from typing import Any

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.errors import (
    RemoteFailed,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.hops import HOPS_HEADER
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.domain.record import Record
from forebay.domain.target import TargetSpec
from forebay.ports import StreamSink
from forebay.targets.endpoint import checked_url, content_type_of, join_url, preset_headers
from forebay.targets.failures import check_status, is_gone, is_lost
from forebay.targets.fetching import fetch
from forebay.targets.http import Body, HttpClient, Response
from forebay.targets.model_server import CHECK_SECONDS, JSON_HEADERS, described_models
from forebay.targets.multipart import multipart_upload

JOBS = "/v1/jobs"
FIRST_POLL_SECONDS, SLOWEST_POLL_SECONDS, POLL_GROWTH = 0.3, 10.0, 1.5
MOST_HOPS = 8  # from hub to hub: a circle of them would forward for ever
_LIVE = frozenset({"queued", "running", "waiting"})
_JOB_ID = "x-forebay-job-id"


class _Error(msgspec.Struct, gc=False):
    code: str = "failed"
    message: str = ""


class _Result(msgspec.Struct, gc=False):
    status_code: int | None
    body: msgspec.Raw


class _Job(msgspec.Struct, gc=False):
    """The hub's view of its job, as far as it is read."""

    id: str
    status: str
    model: str | None = None
    result: _Result | None = None
    error: _Error | None = None
    usage: Usage | None = None
    cost_usd: float | None = None


class _File(msgspec.Struct, gc=False):
    """A result that is a file at the hub."""

    object: str
    file_id: str
    content_type: str
    bytes: int
    details: msgspec.Raw = msgspec.Raw()


class _State(Record, frozen=True, kw_only=True):
    """What a submission is found by."""

    id: str
    pause_seconds: float


_JOB = msgspec.json.Decoder(_Job)
_FILE = msgspec.json.Decoder(_File)
_STATE = msgspec.json.Decoder(_State)


class ForebayTarget:
    """Submits jobs to a hub, asks how they stand, and fetches what they came to."""

    def __init__(self, spec: TargetSpec, http: HttpClient) -> None:
        """Raises: ConfigurationError: ``base_url`` is missing or no URL."""
        self._spec = spec
        self._http = http
        self._base_url = checked_url(spec, spec.base_url, "base_url").removesuffix("/v1")
        headers = {"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        self._headers = preset_headers(spec, {**JSON_HEADERS, **headers})

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the hub says what it serves
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - see below
        if call.is_stream:
            raise self._refused("what is stored and forwarded is not streamed: leave out `stream`")
        if call.hops >= MOST_HOPS:
            raise self._refused(f"it was forwarded {call.hops} times: is there a circle of hubs?")
        if call.pending is not None:
            return await self._poll(call, _STATE.decode(call.pending))
        return _later(_State(id=await self._submit(call), pause_seconds=FIRST_POLL_SECONDS))

    async def withdraw(self, state: str) -> None:
        """Cancels the hub's job."""
        url = self._url(f"{JOBS}/{_STATE.decode(state).id}/cancel")
        response = await self._http.post(url, self._headers, b"", CHECK_SECONDS)
        if not is_gone(response):
            check_status(response, self.name, self._spec.api_key)

    async def check(self) -> str:
        """Asks for the list of models, which costs nothing."""
        response = await self._http.get(self._url("/v1/models"), self._headers, CHECK_SECONDS)
        check_status(response, self.name, self._spec.api_key)
        return f"{self.name}: {described_models(response.body)}"

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""

    async def _submit(self, call: Call) -> str:
        """Hands the work in. Returns the id of its job at the hub.

        What has headers of its client's, a query or files goes to its endpoint, which takes them; all else as a job.
        """
        headers = {
            **self._headers,
            "idempotency-key": call.idempotency_key or call.job_id,
            HOPS_HEADER: str(call.hops + 1),
        }
        path = JOBS
        body: Body = _job_of(call)
        if call.form is not None or call.headers or call.query:
            path = f"{call.endpoint}?{call.query}" if call.query else call.endpoint
            headers |= {**call.headers, "prefer": "respond-async"}
            body = call.body if call.form is None else multipart_upload(call.form)
        response = await self._sent(path, headers, body, call.timeout_seconds)
        if response.status >= 500:
            raise TargetUnavailable(f"target {self.name!r} answered {response.status}", status_code=response.status)
        check_status(response, self.name, self._spec.api_key)
        job_id = response.headers.get(_JOB_ID) or _id_in(response.body)
        if job_id is None:
            raise TargetFailed(f"target {self.name!r} is no Forebay: it named no job", status_code=response.status)
        return job_id

    async def _sent(self, path: str, headers: dict[str, str], body: Body, timeout_seconds: float) -> Response:
        try:
            return await self._http.post(self._url(path), headers, body, timeout_seconds)
        except (TargetFailed, TargetTimeout) as error:
            raise TargetUnavailable(error.message) from error

    async def _poll(self, call: Call, state: _State) -> InferenceResult:
        response = await self._http.get(self._url(f"{JOBS}/{state.id}"), self._headers, call.timeout_seconds)
        if is_lost(response):
            message = f"target {self.name!r} does not know its job {state.id!r} any more"
            raise RemoteFailed(message, status_code=response.status, body=response.body)
        if is_gone(response):
            message = f"target {self.name!r} answered {response.status} in words that are not its own"
            raise TargetFailed(message, status_code=response.status)
        check_status(response, self.name, self._spec.api_key)
        try:
            job = _JOB.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetFailed(f"target {self.name!r} answered with no job", status_code=200) from exc
        if job.status in _LIVE:
            pause = min(state.pause_seconds * POLL_GROWTH, SLOWEST_POLL_SECONDS)
            return _later(msgspec.structs.replace(state, pause_seconds=pause))
        if job.status != "succeeded" or job.result is None:
            raise self._given_up(job)
        return await self._result(call, job, job.result)

    async def _result(self, call: Call, job: _Job, result: _Result) -> InferenceResult:
        answered = InferenceResult(
            status_code=result.status_code or 200,
            body=bytes(result.body),
            usage=job.usage,
            cost_usd=job.cost_usd,
            request_id=job.id,
            model=job.model or call.model,
        )
        file = _file_in(answered.body)
        if file is None:
            return answered
        fetched = await fetch(self._http, self._url(f"/v1/files/{file.file_id}/content"), self._headers, call)
        if is_lost(fetched.response):
            raise RemoteFailed(f"target {self.name!r} has the file of its job {job.id!r} no more", status_code=200)
        check_status(fetched.response, self.name, self._spec.api_key)
        content_type = content_type_of({"content-type": file.content_type})
        if fetched.file is None:
            return msgspec.structs.replace(answered, body=fetched.response.body, content_type=content_type)
        return msgspec.structs.replace(answered, body=bytes(file.details), file=fetched.file, content_type=content_type)

    def _given_up(self, job: _Job) -> TargetError:
        """The end of the hub's job, told as it tells it, with what it has cost."""
        error = job.error or _Error(code=job.status, message=f"it was {job.status}")
        return TargetRejected(
            f"target {self.name!r}, job {job.id}: {error.message}",
            status_code=job.result.status_code if job.result else None,
            body=bytes(job.result.body) if job.result else None,
            code=error.code,
            usage=job.usage,
            cost_usd=job.cost_usd,
        )

    def _refused(self, reason: str) -> TargetRejected:
        message = f"target {self.name!r}: {reason}"
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "not_supported"}
        return TargetRejected(message, status_code=400, body=msgspec.json.encode({"error": error}))

    def _url(self, path: str) -> str:
        plain, mark, query = path.partition("?")
        return join_url(self._base_url, plain) + mark + query


def _job_of(call: Call) -> bytes:
    """The body of ``POST /v1/jobs``: equal whenever the submission is, and nothing in it that changes with time."""
    job: dict[str, Any] = {"endpoint": call.endpoint, "body": msgspec.Raw(call.body), "metadata": dict(call.metadata)}
    if call.model is not None:
        job["model"] = call.model
    if call.deadline is not None:
        job["deadline"] = call.deadline
    return msgspec.json.encode(job)


def _later(state: _State) -> InferenceResult:
    pending = Pending(state=msgspec.json.encode(state).decode(), after_seconds=state.pause_seconds)
    return InferenceResult(status_code=202, body=b"", pending=pending)


def _id_in(body: bytes) -> str | None:
    try:
        return _JOB.decode(body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _file_in(body: bytes) -> _File | None:
    if b'"file_id"' not in body:
        return None
    try:
        file = _FILE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return file if file.object == "file" else None
