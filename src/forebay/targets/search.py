"""Target of type ``search``: a vector index as a data source.

A request has a vector, or a text that the ``embedder`` makes one of. That call is a job of its own, a child of the
search, under the limits, retries and prices of its own target: the search answers that its task is split, as a function
does that returns ``forebay.Spawn``, and is called again with the embedding.
"""

import asyncio
import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.data_source import SearchSource
from forebay.domain.errors import ConfigurationError, RequestError, TargetRejected, TargetTimeout
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.order import Order
from forebay.domain.spawning import Decomposition, Part
from forebay.domain.target import TargetSpec
from forebay.domain.vectors import MOST_DIMENSIONS, MOST_MATCHES, VectorMatch
from forebay.policy.nearest import hint
from forebay.policy.vector_filter import read_filter
from forebay.ports import DataSources, StreamSink
from forebay.targets.sql import object_of

EMBEDDINGS = "/v1/embeddings"
EMBEDDING = "embedding"  # the child's name
MEMBERS = ("query", "vector", "k", "filter", "model")
_FLOAT_BYTES = 4


class _Answer(msgspec.Struct):
    matches: list[VectorMatch]


class SearchTarget:
    """Searches one index."""

    def __init__(self, spec: TargetSpec, sources: DataSources) -> None:
        """Raises: ConfigurationError: no index, or no such place of one."""
        if spec.search is None:
            raise ConfigurationError(f"targets.{spec.name}: a target of type search needs index")
        self._spec = spec
        self._declared: SearchSource = spec.search
        try:
            self._conditions = read_filter(self._declared.filter)
            self._index = sources.vector_index(
                self._declared.index, table=self._declared.table, connections=spec.limits.concurrency
            )
        except (ConfigurationError, RequestError) as exc:
            raise ConfigurationError(f"targets.{spec.name}: {exc}") from exc

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - it has none
        body = object_of(call.body, self.name)
        try:
            _check(body)
            wanted = _count(body.get("k"), self._declared.k)
            conditions = (*self._conditions, *read_filter(body.get("filter")))
            vector = _vector(body)
            if vector is None and EMBEDDING not in call.children:
                return InferenceResult(status_code=200, body=b"{}", split=self._embedding_of(body["query"]))
        except RequestError as exc:
            raise TargetRejected(f"target {self.name!r}: {exc.message}") from exc
        if vector is None:
            vector = self._embedded(call.children[EMBEDDING])
        try:
            async with asyncio.timeout(call.timeout_seconds):
                found = await self._index.search(vector, k=wanted, conditions=conditions)
        except TimeoutError as exc:
            message = f"target {self.name!r}: the search took longer than {call.timeout_seconds:g} s and was ended"
            raise TargetTimeout(message) from exc
        return InferenceResult(status_code=200, body=msgspec.json.encode(_Answer(found)), cost_usd=0.0)

    async def check(self) -> str:
        facts = await self._index.facts()
        return f"{self.name}: {facts.rows} rows of {facts.dimensions} dimensions"

    async def close(self) -> None:
        await self._index.close()

    def _embedding_of(self, text: str) -> Decomposition:
        """What the embedder is asked. Raises: RequestError: there is none."""
        if self._declared.embedder is None:
            message = "it has no embedder (its key `embedder`): give the `vector` of the query"
            raise RequestError(message, param="query", code="not_supported")
        target, _, model = self._declared.embedder.partition("/")
        body = msgspec.json.encode({"input": text, "encoding_format": "float"}).decode()
        order = Order(body=body, target=target, model=model or None, endpoint=EMBEDDINGS)
        return Decomposition(parts=(Part(name=EMBEDDING, is_named=True, order=order),))

    def _embedded(self, entry: Mapping[str, Any]) -> Sequence[float]:
        """The vector that the embedder answered. Raises: TargetRejected."""
        where = f"target {self.name!r}: the embedder {self._declared.embedder!r}"
        if error := entry.get("error"):
            raise TargetRejected(f"{where} failed ({error.get('code')}): {error.get('message')}")
        try:
            return _numbers(entry["body"]["data"][0]["embedding"])
        except (KeyError, IndexError, TypeError, RequestError) as exc:
            raise TargetRejected(f"{where} answered without an embedding") from exc


def _check(body: Mapping[str, Any]) -> None:
    for name in body:
        if name not in MEMBERS:
            raise RequestError(f"there is no {name}{hint(name, MEMBERS)}", param=name, code="unknown_parameter")
    query = body.get("query")
    if (query is None) is (body.get("vector") is None):
        raise RequestError("give either a `query` or a `vector`", param="query")
    if query is not None and not (isinstance(query, str) and query.strip()):
        raise RequestError("query: a text", param="query")


def _count(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_MATCHES:
        raise RequestError(f"k: a whole number from 1 to {MOST_MATCHES}", param="k")
    return value


def _vector(body: Mapping[str, Any]) -> Sequence[float] | None:
    return None if body.get("vector") is None else _numbers(body["vector"])


def _numbers(value: Any) -> Sequence[float]:
    """A list of numbers, or base64 of 32-bit floats, as embeddings come. Raises: RequestError."""
    if isinstance(value, str):
        try:
            packed = base64.b64decode(value, validate=True)
            value = struct.unpack(f"<{len(packed) // _FLOAT_BYTES}f", packed)
        except (binascii.Error, ValueError, struct.error) as exc:
            raise RequestError("vector: no base64 of 32-bit floats", param="vector") from exc
    is_list = isinstance(value, list | tuple) and 1 <= len(value) <= MOST_DIMENSIONS
    if not is_list or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        raise RequestError(f"vector: 1 to {MOST_DIMENSIONS} numbers", param="vector")
    if not all(math.isfinite(one) for one in value) or not any(value):
        raise RequestError("vector: all zeros, or beyond what can be", param="vector")
    numbers: Sequence[float] = value
    return numbers
