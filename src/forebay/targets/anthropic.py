"""Target of type ``anthropic``: the Messages API.

Source: https://docs.anthropic.com/en/api/messages (November 2026).
"""

from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import ANTHROPIC_URL, PriceTable
from forebay.policy.resolution import MESSAGES_ENDPOINTS
from forebay.ports import StreamSink
from forebay.targets.endpoint import checked_url
from forebay.targets.http import HttpClient
from forebay.targets.model_server import ModelServer

VERSION = "2023-06-01"  # ``headers: {anthropic-version: …}`` of the target overrides it


class AnthropicTarget:
    """Serves ``/v1/messages`` and ``/v1/messages/count_tokens`` alone."""

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable) -> None:
        """Raises: ConfigurationError: ``base_url`` is no URL."""
        self._name = spec.name
        headers = {"anthropic-version": VERSION}
        if spec.api_key:
            headers["x-api-key"] = spec.api_key
        self._server = ModelServer(
            spec, http, table, checked_url(spec, spec.base_url or ANTHROPIC_URL, "base_url"), headers
        )

    @property
    def name(self) -> str:
        return self._name

    def serves(self, endpoint: str) -> bool:
        return endpoint in MESSAGES_ENDPOINTS

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        return await self._server.call(call, sink)

    async def check(self) -> str:
        return await self._server.check()

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""
