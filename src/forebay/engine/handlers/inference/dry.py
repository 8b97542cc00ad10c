"""What a step that asks models would ask, and what it would cost at most. Nothing is sent, and nothing is kept."""

from forebay.domain.errors import NotSupported
from forebay.domain.pipeline import StepWork
from forebay.engine.handlers.inference.harvest import harvest
from forebay.engine.handlers.inference.making import Asks, asks_of, only_input
from forebay.engine.handlers.inference.paid import read_paid
from forebay.engine.services import Services
from forebay.policy.expectation import Estimating, Expectation
from forebay.policy.pricing import maximal_cost_usd, prices_for
from forebay.policy.requests import Request
from forebay.policy.usage import estimate_request


async def expect(work: StepWork, services: Services) -> Expectation:
    """Plans the step over its inputs. ``to_send`` counts calls' records, or calls where several share one.

    Raises: RequestError: as the step would fail.
    """
    tables = services.requests
    if tables is None:
        raise NotSupported("This process was opened without tables")
    asks = asks_of(work, services)
    named = {name: work.inputs[name] for name in asks.asked.columns & work.inputs.keys()}
    only = None if asks.is_once else work.inputs[only_input(work)].table
    table = only or await tables.of_scope(named)
    paid = () if work.is_fresh else await _paid(work, services)
    planned = await tables.plan(asks.asked, table, paid)
    estimating = Estimating(lambda place, request: _cost(asks, place, request, services))
    await tables.estimate(asks.asked, table, planned, estimating)
    return estimating.expectation(records=planned.entered, already_paid=planned.paid, refused=planned.refused)


async def _paid(work: StepWork, services: Services) -> tuple[str, ...]:
    """The paid answers, and those of batches that have ended since."""
    memory = await read_paid(work, services)
    found = list(memory.tables)
    for begun in memory.begun:
        [batch] = await services.jobs.get(work.tenant, [begun.batch_id])
        if batch is not None and batch.is_terminal and services.requests is not None:
            answers, _ = await harvest(begun, batch, services.requests, services)
            found += [answers.table] if answers.table else []
    return tuple(found)


def _cost(asks: Asks, place: int, request: Request, services: Services) -> float | None:
    fanout = asks.asked.fanout
    if fanout is None:
        target, model = asks.call.target, asks.asked.request.model
    else:
        target, model = fanout.branches[place].target, fanout.branches[place].model
    found = services.resolver.resolve(target=target, model=model or asks.model, endpoint=request.endpoint)
    first = found.candidates[0]
    prices = prices_for(services.specs[first.target], first.model or found.model, services.prices)
    return maximal_cost_usd(estimate_request(request.body, request.endpoint), prices)
