"""Makes targets from their declarations. The composition root calls ``build_targets``; nothing is sent by it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import assert_never

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec, TargetType
from forebay.policy.pricing import PriceTable
from forebay.ports import DataSources, Target
from forebay.targets.a2a import A2aTarget
from forebay.targets.a2a_push import Pushes
from forebay.targets.anthropic import AnthropicTarget
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary, open_http
from forebay.targets.extras import open_tool
from forebay.targets.http import HttpClient
from forebay.targets.http_service import HttpServiceTarget
from forebay.targets.hub import ForebayTarget
from forebay.targets.local import LocalServer, LocalTarget
from forebay.targets.openai_compatible import OpenAiTarget
from forebay.targets.prices import ListPrices, may_be_vendor
from forebay.targets.python_function import PythonTarget
from forebay.targets.search import SearchTarget
from forebay.targets.sql import SqlTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What targets use of the process around them, beside HTTP; None: it is not to be had there."""

    local: LocalServer | None = None
    sources: DataSources | None = None
    pushes: Pushes | None = None


@asynccontextmanager
async def build_targets(
    specs: Iterable[TargetSpec],
    *,
    around: Surroundings | None = None,
    prices: PriceTable | None = None,
    library: HttpLibrary = DEFAULT_LIBRARY,
) -> AsyncIterator[dict[str, Target]]:
    """Builds every target on one HTTP client; leaving closes them.

    Raises: ConfigurationError: a declaration lacks what its type needs, its function can't be imported, or the HTTP
    library is not installed.
    """
    specs = tuple(specs)
    table = prices or ListPrices()
    if isinstance(table, ListPrices) and any(is_listed(spec) for spec in specs):
        await asyncio.to_thread(table.load)  # not in the loop, at the first answer
    async with AsyncExitStack() as stack:
        http = open_http(library)
        stack.push_async_callback(http.close)
        targets: dict[str, Target] = {}
        for spec in specs:
            targets[spec.name] = target = build_target(spec, http, table=table, around=around)
            stack.push_async_callback(target.close)
        yield targets


def is_listed(spec: TargetSpec) -> bool:
    """True if the target's prices are looked up in the list of vendors."""
    if spec.prices is not None or spec.type not in {TargetType.OPENAI, TargetType.ANTHROPIC}:
        return False
    return spec.base_url is None or may_be_vendor(spec.base_url)


def build_target(
    spec: TargetSpec,
    http: HttpClient,
    *,
    table: PriceTable | None = None,
    around: Surroundings | None = None,
) -> Target:
    """Builds one target. Raises: ConfigurationError."""
    around = around or Surroundings()
    table = table or ListPrices()
    match spec.type:
        case TargetType.OPENAI:
            return OpenAiTarget(spec, http, table)
        case TargetType.ANTHROPIC:
            return AnthropicTarget(spec, http, table)
        case TargetType.HTTP:
            return HttpServiceTarget(spec, http, table)
        case TargetType.PYTHON:
            return PythonTarget(spec, table)
        case TargetType.LOCAL:
            if around.local is None:
                raise ConfigurationError(f"targets.{spec.name}: local models can't be started here")
            return LocalTarget(spec, http, table, around.local)
        case TargetType.FOREBAY:
            return ForebayTarget(spec, http)
        case TargetType.A2A:
            return A2aTarget(spec, http, table, around.pushes)
        case TargetType.MCP:
            return open_tool(spec)
        case TargetType.SQL | TargetType.SEARCH:
            return _data_target(spec, around.sources)
        case _:
            assert_never(spec.type)


def _data_target(spec: TargetSpec, sources: DataSources | None) -> Target:
    if sources is None:
        raise ConfigurationError(f"targets.{spec.name}: data sources can't be opened here")
    return SqlTarget(spec, sources) if spec.type is TargetType.SQL else SearchTarget(spec, sources)
