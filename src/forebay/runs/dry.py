"""A dry run: what would be sent, and what it would cost at most. Nothing is called, and nothing is kept."""

import asyncio
from typing import Any

import msgspec

from forebay.domain.target import TargetSpec
from forebay.policy.expectation import Estimating, Expectation
from forebay.policy.pricing import PriceTable, maximal_cost_usd, prices_for
from forebay.policy.requests import Request
from forebay.policy.usage import estimate_request
from forebay.runs.execution import Execution
from forebay.runs.inputs import Input
from forebay.runs.options import RunOptions
from forebay.runs.partial import Nowhere
from forebay.runs.prepared import Prepared, prepare
from forebay.runs.progress import Silence
from forebay.runs.site import Site
from forebay.runs.workbook import Workbook
from forebay.targets.prices import ListPrices


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
    model = prepared.place.model
    estimating = Estimating(lambda _, request: None if spec is None else _cost(spec, model, request, prices))
    for entry in prepared.workbook.pending() if renderer else ():
        if renderer is not None:
            estimating.add([renderer.render(msgspec.json.decode(entry.record))])
    return estimating.expectation(
        records=prepared.plan.records,
        already_paid=prepared.workbook.count(is_success=True),
        refused=prepared.workbook.count(is_success=False),
    )


def _cost(spec: TargetSpec, model: str | None, request: Request, prices: PriceTable) -> float | None:
    named = model or msgspec.json.decode(request.body, type=dict[str, Any]).get("model")
    found = prices_for(spec, named if isinstance(named, str) else None, prices)
    return maximal_cost_usd(estimate_request(request.body, request.endpoint), found)
