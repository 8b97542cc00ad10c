"""Target of type ``openai``: any server that speaks OpenAI's wire (OpenAI, vLLM, llama.cpp, Ollama, gateways)."""

from collections.abc import Coroutine
from typing import Any

from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.policy.resolution import MESSAGES_ENDPOINTS
from forebay.ports import StreamSink
from forebay.targets.endpoint import checked_url
from forebay.targets.http import HttpClient
from forebay.targets.model_server import ModelServer
from forebay.targets.responses import ResponsesServer
from forebay.targets.videos import ENDPOINT as VIDEOS
from forebay.targets.videos import VideoServer


class OpenAiTarget:
    """Serves every endpoint but Anthropic's messages."""

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable) -> None:
        """Raises: ConfigurationError: ``base_url`` is missing or no URL."""
        self._name = spec.name
        headers = {"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        self._server = ModelServer(spec, http, table, checked_url(spec, spec.base_url, "base_url"), headers)
        self._responses = ResponsesServer(self._server, spec.name, spec.responses)
        self._videos = VideoServer(self._server, spec.name, spec.api_key)

    @property
    def name(self) -> str:
        return self._name

    def serves(self, endpoint: str) -> bool:
        return endpoint not in MESSAGES_ENDPOINTS

    def call(self, call: Call, sink: StreamSink | None = None) -> Coroutine[Any, Any, InferenceResult]:
        if call.endpoint.startswith(VIDEOS):
            return self._videos.call(call)
        return self._responses.call(call, sink)

    async def withdraw(self, state: str) -> None:
        await self._videos.withdraw(state)

    async def check(self) -> str:
        return await self._server.check()

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""
