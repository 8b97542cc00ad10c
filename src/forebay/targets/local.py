"""Target of type ``local``: a small model that Forebay starts itself, at the first call, and guards."""

import asyncio
from typing import Protocol

import msgspec

from forebay.domain.errors import ConfigurationError, TargetTimeout, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import ResponsesMode, TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.ports import StreamSink
from forebay.targets.http import HttpClient
from forebay.targets.model_server import ModelServer
from forebay.targets.responses import ResponsesServer


class LocalServer(Protocol):
    """Whoever runs local model servers."""

    async def address(self, model: str) -> tuple[str, str]:
        """Returns ``(base_url, api_key)`` of a server that answers, starting it if it is not running. Asked before
        every call, so cheap while it runs.

        Raises: TargetUnavailable: it does not start. ConfigurationError: there is no such model, or it was not pulled.
        """
        ...


class LocalTarget:
    """Serves what its model is made for. A text model serves every endpoint: llama.cpp's server speaks Anthropic's
    messages too, and responses are made from chat.
    """

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable, local: LocalServer) -> None:
        """Raises: ConfigurationError: the target names no model."""
        if not spec.model:
            raise ConfigurationError(f"targets.{spec.name}: model is missing; see `forebay models list`")
        self._spec = spec
        self._model = spec.model
        self._http = http
        self._table = table
        self._local = local
        self._address = ("", "")
        self._server: ModelServer | None = None

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:
        return not self._spec.endpoints or endpoint in self._spec.endpoints

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        loop = asyncio.get_running_loop()
        until = loop.time() + call.timeout_seconds
        try:
            async with asyncio.timeout_at(until):
                server = await self._reached()
        except TimeoutError as exc:
            message = f"target {self.name!r}: the model server did not start within {call.timeout_seconds:g} s"
            raise TargetTimeout(message) from exc
        rest = max(until - loop.time(), 0.001)
        responses = ResponsesServer(server, self.name, ResponsesMode.CHAT)
        return await responses.call(msgspec.structs.replace(call, timeout_seconds=rest), sink)

    async def check(self) -> str:
        return await (await self._reached()).check()

    async def close(self) -> None:
        """Nothing: the server is its runner's to end."""

    async def _reached(self) -> ModelServer:
        try:
            address = await self._local.address(self._model)
        except ConfigurationError as exc:
            raise TargetUnavailable(f"target {self.name!r}: {exc}") from exc
        if self._server is None or address != self._address:  # it was started, or started again elsewhere
            base_url, api_key = self._address = address
            spec = msgspec.structs.replace(self._spec, base_url=base_url, api_key=api_key)
            headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
            self._server = ModelServer(spec, self._http, self._table, base_url.rstrip("/"), headers)
        return self._server
