"""A dry run: what would be sent, and what it would cost at most. Nothing is called, and nothing is kept."""

import asyncio
from typing import Any

import msgspec

from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable, maximal_cost_usd, prices_for
from forebay.policy.usage import estimate_request
from forebay.runs.execution import Execution
from forebay.runs.inputs import Input
from forebay.runs.options import RunOptions
from forebay.runs.partial import Nowhere
from forebay.runs.prepared import Prepared, prepare
from forebay.runs.progress import Silence
from forebay.runs.site import Site
from forebay.runs.summary import Expectation
from forebay.runs.workbook import Workbook
from forebay.targets.prices import ListPrices

SHOWN_REQUESTS = 3


async def expect(source: Input, options: RunOptions, site: Site) -> Expectation:
    """Plans a run. Raises: ConfigurationError: as a run would."""
    with Workbook() as workbook:
        prepared = await asyncio.to_thread(prepare, source, options, site, workbook)
        async with site.connect(prepared.place, prepared.options, is_dry=True) as backend:
            await Execution(prepared, backend, Nowhere(), Silence(), asyncio.Event()).remember()
        return await asyncio.to_thread(_expectation, prepared, ListPrices())


def _expectation(prepared: Prepared, prices: PriceTable) -> Expectation:
    renderer = prepared.plan.renderer
    spec = next((one for one in prepared.place.settings.targets if one.name in prepared.place.serving), None)
    count = input_tokens = output_tokens = 0
    cost: float | None = 0.0
    shown: list[dict[str, Any]] = []
    for entry in prepared.workbook.pending() if renderer else ():
        request = renderer.render(msgspec.json.decode(entry.record)) if renderer else None
        if request is None:
            continue
        estimate = estimate_request(request.body, request.endpoint)
        count += 1
        input_tokens += estimate.input_tokens
        output_tokens += estimate.output_tokens
        price = None if spec is None else _cost(spec, prepared.place.model, request.body, request.endpoint, prices)
        cost = None if cost is None or price is None else cost + price
        if len(shown) < SHOWN_REQUESTS:
            shown.append({"endpoint": request.endpoint, "body": msgspec.json.decode(request.body)})
    return Expectation(
        records=prepared.plan.records,
        already_paid=prepared.workbook.count(is_success=True),
        to_send=count,
        refused=prepared.workbook.count(is_success=False),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost,
        requests=shown,
    )


def _cost(spec: TargetSpec, model: str | None, body: bytes, endpoint: str, prices: PriceTable) -> float | None:
    named = model or msgspec.json.decode(body, type=dict[str, Any]).get("model")
    found = prices_for(spec, named if isinstance(named, str) else None, prices)
    return maximal_cost_usd(estimate_request(body, endpoint), found)
