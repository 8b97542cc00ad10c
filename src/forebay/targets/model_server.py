"""A server that speaks a vendor's wire: what the OpenAI, Anthropic and local targets have in common."""

from collections.abc import Mapping

import msgspec

from forebay.domain.errors import TargetFailed, TargetRejected, TargetTimeout
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.ports import StreamSink
from forebay.targets.endpoint import call_headers, call_url, join_url, passed_headers, preset_headers, read_answer
from forebay.targets.failures import by_status, check_status
from forebay.targets.fetching import Fetched, fetch
from forebay.targets.http import HttpClient, Response
from forebay.targets.multipart import multipart_upload
from forebay.targets.streaming import stream_call

CHECK_SECONDS = 30.0
#: No compressed answers: they cost more CPU than they save between machines that are near.
JSON_HEADERS = {"content-type": "application/json", "accept": "*/*", "accept-encoding": "identity"}
_MODELS = "/v1/models"


class ModelServer:
    """Sends bodies as they are to ``base_url`` + endpoint, and reads answers and streams of both vendors."""

    def __init__(
        self, spec: TargetSpec, http: HttpClient, table: PriceTable, base_url: str, headers: Mapping[str, str]
    ) -> None:
        self._spec = spec
        self._http = http
        self._table = table
        self._base_url = base_url
        self._headers = preset_headers(spec, {**JSON_HEADERS, **headers})

    async def call(self, call: Call, sink: StreamSink | None) -> InferenceResult:
        url = call_url(self._base_url, call)
        headers = call_headers(passed_headers(self._headers, self._spec, call), call)
        body = call.body if call.form is None else multipart_upload(call.form)
        if call.is_stream:
            opened = self._http.stream(url, headers, body, call.timeout_seconds)
            return await stream_call(opened, call, self._spec, self._table, sink)
        try:
            response = await self._http.post(url, headers, body, call.timeout_seconds)
        except (TargetFailed, TargetTimeout) as exc:
            raise by_status(exc) from exc
        if response.status != 200:
            check_status(response, self._spec.name, self._spec.api_key)
        return read_answer(response, call, self._spec, self._table)

    async def get(self, path: str, call: Call) -> Response:
        """Asks for something beside the endpoints, within the call's time."""
        headers = call_headers(passed_headers(self._headers, self._spec, call), call)
        return await self._http.get(join_url(self._base_url, path), headers, call.timeout_seconds)

    async def delete(self, path: str, timeout_seconds: float) -> Response:
        return await self._http.delete(join_url(self._base_url, path), self._headers, timeout_seconds)

    async def fetch(self, path: str, call: Call) -> Fetched:
        """Fetches a file, or what is said in its place."""
        headers = call_headers(passed_headers(self._headers, self._spec, call), call)
        return await fetch(self._http, join_url(self._base_url, path), headers, call)

    def result_of(self, response: Response, call: Call) -> InferenceResult:
        """Reads a 2xx answer. Raises: TargetFailed."""
        return read_answer(response, call, self._spec, self._table)

    async def check(self) -> str:
        """Asks for the list of models, which costs nothing."""
        response = await self._http.get(join_url(self._base_url, _MODELS), self._headers, CHECK_SECONDS)
        try:
            check_status(response, self._spec.name, self._spec.api_key)
        except TargetRejected as exc:
            if exc.status_code in {404, 405}:
                return f"{self._spec.name}: reachable; it lists no models"
            raise
        return f"{self._spec.name}: {described_models(response.body)}"


class _Model(msgspec.Struct, gc=False):
    id: str


class _Models(msgspec.Struct, gc=False):
    data: list[_Model]


def described_models(body: bytes) -> str:
    """Says in words what a list of models holds."""
    try:
        names = [model.id for model in msgspec.json.decode(body, type=_Models).data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "reachable; its list of models can't be read"
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"reachable, {len(names)} model{'' if len(names) == 1 else 's'}" + (f" ({shown})" if names else "")
