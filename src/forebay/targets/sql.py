"""Target of type ``sql``: a database as a data source. The query is the target's; a request gives its parameters."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.domain.data_source import QueryResult, SqlSource
from forebay.domain.errors import ConfigurationError, RequestError, TargetRejected, TargetTimeout
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.sql_text import Statement, bound_values, read_statement
from forebay.ports import DataSources, StreamSink


class _Answer(msgspec.Struct):
    columns: tuple[str, ...]
    rows: tuple[msgspec.Raw, ...]
    row_count: int
    truncated: bool


class SqlTarget:
    """Asks one database; it can't change it."""

    def __init__(self, spec: TargetSpec, sources: DataSources) -> None:
        """Raises: ConfigurationError: no query, one that is no statement, or no such address."""
        source = spec.sql
        if source is None or (source.query is None and not source.allow_query):
            raise ConfigurationError(f"targets.{spec.name}: a target of type sql needs url and query")
        self._spec = spec
        self._declared: SqlSource = source
        self._statement = _declared(spec.name, source.query)
        try:
            self._source = sources.query_source(
                source.url, name=f"target {spec.name!r}", connections=spec.limits.concurrency
            )
        except ConfigurationError as exc:
            raise ConfigurationError(f"targets.{spec.name}.url: {exc}") from exc

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - it has none
        body = object_of(call.body, self.name)
        try:
            statement = self._asked(body)
            values = bound_values(statement, body)
        except RequestError as exc:
            raise TargetRejected(f"target {self.name!r}: {exc.message}") from exc
        try:
            async with asyncio.timeout(call.timeout_seconds):
                found = await self._source.query(
                    statement, values, most_rows=self._declared.max_rows, timeout_seconds=call.timeout_seconds
                )
        except TimeoutError as exc:
            message = f"target {self.name!r}: the statement took longer than {call.timeout_seconds:g} s and was ended"
            raise TargetTimeout(message) from exc
        return _result(found)

    async def check(self) -> str:
        return f"{self.name}: {await self._source.check()}"

    async def close(self) -> None:
        await self._source.close()

    def _asked(self, body: Mapping[str, Any]) -> Statement:
        """The target's statement, or the request's where that may have one."""
        if self._declared.allow_query and body.get("query") is not None:
            if not isinstance(body["query"], str):
                raise RequestError("query: one statement of SQL", param="query")
            return read_statement(body["query"])
        if self._statement is None:
            raise RequestError("the request has no query", param="query", code="missing_required_parameter")
        if body.get("query") is not None and "query" not in self._statement.names:
            message = "query: the target has a query of its own, and takes none (its key `allow_query`)"
            raise RequestError(message, param="query", code="not_supported")
        return self._statement


def object_of(body: bytes, target: str) -> dict[str, Any]:
    """Reads a request's body. Raises: TargetRejected."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TargetRejected(f"target {target!r} takes a JSON object: {exc}") from exc


def _declared(name: str, query: str | None) -> Statement | None:
    try:
        return None if query is None else read_statement(query)
    except RequestError as exc:
        raise ConfigurationError(f"targets.{name}.{exc.message}") from exc


def _result(found: QueryResult) -> InferenceResult:
    answer = _Answer(columns=found.columns, rows=found.rows, row_count=len(found.rows), truncated=found.is_truncated)
    return InferenceResult(status_code=200, body=msgspec.json.encode(answer), cost_usd=0.0)
