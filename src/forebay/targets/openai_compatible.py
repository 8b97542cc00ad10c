"""Target of type ``openai``: any server that speaks OpenAI's wire (OpenAI, vLLM, llama.cpp, Ollama, gateways)."""

import msgspec

from forebay.domain.errors import TargetRejected
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.ports import StreamSink
from forebay.targets.endpoint import call_headers, checked_url, join_url, read_answer
from forebay.targets.failures import check_status
from forebay.targets.http import HttpClient
from forebay.targets.streaming import stream_call

CHECK_SECONDS = 30.0
_ANTHROPIC_MESSAGES = "/v1/messages"


class OpenAiTarget:
    """Sends each body as it is to ``base_url`` + endpoint."""

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable) -> None:
        self._spec = spec
        self._http = http
        self._table = table
        self._base_url = checked_url(spec, spec.base_url, "base_url")
        self._urls: dict[str, str] = {}
        self._headers = {"Content-Type": "application/json", "Accept": "*/*", "Accept-Encoding": "identity"}
        if spec.api_key:
            self._headers["Authorization"] = f"Bearer {spec.api_key}"
        self._headers.update(spec.headers)

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:
        return endpoint != _ANTHROPIC_MESSAGES

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        url = self._urls.get(call.endpoint)
        if url is None:
            url = self._urls[call.endpoint] = join_url(self._base_url, call.endpoint)
        headers = call_headers(self._headers, call)
        if call.is_stream:
            opened = self._http.stream(url, headers, call.body, call.timeout_seconds)
            return await stream_call(opened, call, self._spec, self._table, sink)
        response = await self._http.post(url, headers, call.body, call.timeout_seconds)
        if response.status != 200:
            check_status(response, self.name, self._spec.api_key)
        return read_answer(response, call, self._spec, self._table)

    async def check(self) -> str:
        """Asks for the list of models, which costs nothing."""
        url = join_url(self._base_url, "/v1/models")
        response = await self._http.get(url, self._headers, CHECK_SECONDS)
        try:
            check_status(response, self.name, self._spec.api_key)
        except TargetRejected as exc:
            if exc.status_code in {404, 405}:
                return f"{self.name}: reachable; it lists no models"
            raise
        return f"{self.name}: {described_models(response.body)}"

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""


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
