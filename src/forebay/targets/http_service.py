"""Target of type ``http``: any service that takes a POST of JSON; what takes long may answer 202 and be polled."""

import time
from urllib.parse import urljoin, urlsplit

import msgspec

from forebay.domain.errors import RemoteFailed, TargetError, TargetFailed, TargetRejected, TargetTimeout
from forebay.domain.hops import HOPS_HEADER
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.domain.record import Record
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.policy.rate_headers import retry_after_seconds
from forebay.policy.usage import NOTHING_METERED, read_metering
from forebay.ports import StreamSink
from forebay.targets.endpoint import call_headers, checked_url, content_type_of, metered_result, preset_headers
from forebay.targets.failures import by_status, check_status
from forebay.targets.fetching import fetch
from forebay.targets.http import HttpClient, Response
from forebay.targets.model_server import CHECK_SECONDS, JSON_HEADERS
from forebay.targets.streaming import stream_call

FIRST_POLL_SECONDS = 0.5
SLOWEST_POLL_SECONDS = 10.0
POLL_GROWTH = 1.5
_ACCEPTED = 202
_SEE_OTHER = 303
MOST_HOPS = 5  # from one address to the next, in one poll
_LOST = frozenset({404, 410})
_RETRIED = frozenset({408, 425, 502, 504})  # by who stands between


class HttpServiceTarget:
    """Posts each body to one address, with the job's id as ``Idempotency-Key``, equal on every attempt."""

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable) -> None:
        """Raises: ConfigurationError: ``url`` is missing or no URL."""
        self._spec = spec
        self._http = http
        self._table = table
        checked_url(spec, spec.url, "url")
        self._url = spec.url or ""
        headers = {"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        self._headers = preset_headers(spec, {**JSON_HEADERS, **headers})

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        headers = call_headers(self._headers, call)
        headers["forebay-job-id"] = call.job_id
        headers["forebay-attempt"] = str(call.attempt)
        headers["idempotency-key"] = call.job_id
        if call.hops:
            headers[HOPS_HEADER] = str(call.hops)
        if call.is_stream:
            opened = self._http.stream(self._url, headers, call.body, call.timeout_seconds)
            return await stream_call(opened, call, self._spec, self._table, sink)
        if call.pending is not None:
            return await self._poll(call, headers, decode_state(call.pending))
        try:
            response = await self._http.post(self._url, headers, call.body, call.timeout_seconds)
        except (TargetFailed, TargetTimeout) as exc:
            raise by_status(exc) from exc
        if response.status == _ACCEPTED and "location" in response.headers:
            return self._later(response, self._location(self._url, response), FIRST_POLL_SECONDS)
        check_status(response, self.name, self._spec.api_key)
        return self._result(response, call)

    async def withdraw(self, state: str) -> None:
        """Deletes what the Location names; a service that knows no DELETE is left alone."""
        response = await self._http.delete(decode_state(state).address, self._headers, CHECK_SECONDS)
        if response.status in _RETRIED or response.status in {429, 503}:
            check_status(response, self.name, self._spec.api_key)

    async def check(self) -> str:
        """Asks for the address: whatever it answers but a 5xx shows that it is there."""
        response = await self._http.get(self._url, self._headers, CHECK_SECONDS)
        if response.status >= 500:
            check_status(response, self.name, self._spec.api_key)
        return f"{self.name}: reachable (a GET is answered {response.status})"

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""

    async def _poll(self, call: Call, headers: dict[str, str], state: "_State") -> InferenceResult:
        """Asks at the Location once."""
        address = state.address
        for _ in range(MOST_HOPS):
            fetched = await fetch(self._http, address, headers, call)
            response = fetched.response
            if response.status not in {_ACCEPTED, _SEE_OTHER}:
                break
            if "location" in response.headers:
                address = self._location(address, response)
            if response.status == _ACCEPTED:
                return self._later(response, address, min(state.pause_seconds * POLL_GROWTH, SLOWEST_POLL_SECONDS))
        try:
            check_status(response, self.name, self._spec.api_key)
        except (TargetFailed, TargetRejected) as error:
            raise _ended(error) from error
        result = self._result(response, call) if fetched.file is None else self._metered(response, call)
        return msgspec.structs.replace(result, file=fetched.file)

    def _later(self, response: Response, address: str, pause_seconds: float) -> InferenceResult:
        """What was accepted is asked for at its address, when the service says, or after longer and longer pauses."""
        told = retry_after_seconds(response.headers, time.time())
        state = msgspec.json.encode(_State(address=address, pause_seconds=pause_seconds)).decode()
        pending = Pending(state=state, after_seconds=pause_seconds if told is None else told)
        return InferenceResult(
            status_code=response.status, body=response.body, headers=response.headers, pending=pending
        )

    def _location(self, base: str, response: Response) -> str:
        """Returns where to ask. Another origin is refused: the target's key would go there."""
        address = urljoin(base, response.headers["location"])
        if urlsplit(address)[:2] != urlsplit(self._url)[:2]:
            raise TargetRejected(
                f"target {self.name!r} answered with a Location of another origin, which is not followed",
                status_code=response.status,
                body=response.body,
            )
        return address

    def _result(self, response: Response, call: Call) -> InferenceResult:
        content_type = content_type_of(response.headers)
        if not response.body and "content-type" not in response.headers:
            response = Response(status=response.status, headers=response.headers, body=b"null")
        elif content_type != "application/json" and not content_type.endswith("+json"):
            return self._metered(response, call)
        try:
            metering = read_metering(response.body)
        except msgspec.DecodeError as exc:
            raise TargetFailed(
                f"target {self.name!r} answered {response.status} with a body that is not JSON",
                status_code=response.status,
                body=response.body,
                headers=response.headers,
            ) from exc
        return metered_result(response, metering, call, self._spec, self._table)

    def _metered(self, response: Response, call: Call) -> InferenceResult:
        """The result of an answer that is a file."""
        result = metered_result(response, NOTHING_METERED, call, self._spec, self._table)
        return msgspec.structs.replace(result, content_type=content_type_of(response.headers))


class _State(Record, frozen=True, kw_only=True):
    """Where what was accepted is asked for, and how long the last pause was."""

    address: str
    pause_seconds: float


def decode_state(state: str) -> _State:
    return _STATE.decode(state)


def _ended(error: TargetError) -> TargetError:
    """What a status other than 2xx says of the work: lost (404, 410) or failed (5xx), unless a gateway says it."""
    status = error.status_code
    if status in _LOST or (isinstance(error, TargetFailed) and status not in _RETRIED):
        return RemoteFailed(error.message, status_code=status, body=error.body, headers=error.headers)
    return error


_STATE = msgspec.json.Decoder(_State)
