"""Makes targets from their declarations. The composition root calls ``build_targets``; nothing is sent by it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import assert_never

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec, TargetType
from forebay.policy.pricing import PriceTable
from forebay.ports import Target
from forebay.targets.a2a import A2aTarget
from forebay.targets.anthropic import AnthropicTarget
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary, open_http
from forebay.targets.http import HttpClient
from forebay.targets.http_service import HttpServiceTarget
from forebay.targets.local import LocalServer, LocalTarget
from forebay.targets.openai_compatible import OpenAiTarget
from forebay.targets.prices import ListPrices, may_be_vendor
from forebay.targets.python_function import PythonTarget


@asynccontextmanager
async def build_targets(
    specs: Iterable[TargetSpec],
    *,
    local: LocalServer | None = None,
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
            targets[spec.name] = target = build_target(spec, http, table=table, local=local)
            stack.push_async_callback(target.close)
        yield targets


def is_listed(spec: TargetSpec) -> bool:
    """True if the target's prices are looked up in the list of vendors."""
    if spec.prices is not None or spec.type not in {TargetType.OPENAI, TargetType.ANTHROPIC}:
        return False
    return spec.base_url is None or may_be_vendor(spec.base_url)


def build_target(
    spec: TargetSpec, http: HttpClient, *, table: PriceTable | None = None, local: LocalServer | None = None
) -> Target:
    """Builds one target. Raises: ConfigurationError."""
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
            if local is None:
                raise ConfigurationError(f"targets.{spec.name}: local models can't be started here")
            return LocalTarget(spec, http, table, local)
        case TargetType.A2A:
            return A2aTarget(spec, http, table)
        case _:
            assert_never(spec.type)
