"""Fairness between tenants over all workers on one store: weighted, charged by tokens; one is greedy, two are small."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from forebay.domain.change import Claimed, Want
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.order import Order
from forebay.domain.target import Limits
from forebay.engine.intake import make_job
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.ports import Clock
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.world import LANE, QUEUE, OpenedStore, OpenStore, World, opened
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget, answer
from tests.integration.postgres_house import empty_place, opened_at, server

CLAIMERS = 3
WEIGHTS = {"greedy": 1.0, "small": 1.0, "heavy": 2.0}
TOKENS = {"greedy": 400, "small": 100, "heavy": 200}
QUEUED = {"greedy": 400, "small": 200, "heavy": 200}
WINDOW_TOKENS = 8_000
COUNTS = {"greedy": 60, "one": 6, "two": 6}  # of the same size; the greedy one's are first in the queue
SLACK = 6  # calls: two workers with four slots each don't start in the very order of the claims
STORES = ("sqlite", "postgres")
BODY = '{"model":"t-model","messages":[{"role":"user","content":"Hello"}]}'


def _opener(kind: str, folder: Path) -> OpenStore:
    """Opens an empty store at first, then the same one again."""
    known: list[Clock] = []

    async def in_file(clock: Clock) -> OpenedStore:
        return await open_store(folder / "jobs.db", clock=clock)

    async def in_postgres(clock: Clock) -> OpenedStore:
        place = await empty_place(server().url(), is_new=not known)
        known.append(clock)
        return await opened_at(place, clock)

    return in_file if kind == "sqlite" else in_postgres


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(_opener(str(request.param), tmp_path)) as opened_world:
        yield opened_world


async def _fill(world: World) -> None:
    """The greedy one is first, with all that it has."""
    for tenant, count in QUEUED.items():
        weight, tokens = WEIGHTS[tenant], TOKENS[tenant]
        await world.jobs.add([world.make(tenant=tenant, weight=weight, tokens=tokens) for _ in range(count)])


async def _claimed(world: World, stores: list[OpenedStore], rounds: int) -> list[Claimed]:
    """What several claimers at once are given, in the order of the fences."""
    found: list[Claimed] = []

    async def claim(number: int) -> None:
        worker = await world.worker(f"worker-{number}")
        for _ in range(rounds):
            found.extend(await stores[number].jobs.claim(worker, [Want(queue=QUEUE, lane=LANE, slots=5)]))

    await asyncio.gather(*(claim(number) for number in range(len(stores))))
    return sorted(found, key=lambda one: one.fence)


async def test_in_any_window_tenants_get_tokens_by_their_weights(world: World) -> None:
    await _fill(world)
    stores = [await world.second() for _ in range(CLAIMERS)]
    claimed = await _claimed(world, stores, 16)
    assert len(claimed) == CLAIMERS * 16 * 5
    windows = 0
    for start in range(0, len(claimed), 10):
        shares: Counter[str] = Counter()
        for one in claimed[start:]:
            shares[one.job.tenant] += one.job.tokens
            if shares.total() >= WINDOW_TOKENS:
                windows += 1
                _are_fair(shares)
                break
    assert windows >= 10


def _are_fair(shares: Counter[str]) -> None:
    for tenant, weight in WEIGHTS.items():
        due = weight / sum(WEIGHTS.values())
        assert abs(shares[tenant] / shares.total() - due) <= 0.1, (tenant, shares)


async def test_a_tenant_with_one_job_waits_a_window_at_most(world: World) -> None:
    await _fill(world)
    stores = [await world.second() for _ in range(CLAIMERS)]
    await _claimed(world, stores, 4)
    await world.add(tenant="late", tokens=100)
    after = [one.job for one in await _claimed(world, stores, 4)]
    before = after[: [job.tenant for job in after].index("late")]
    assert sum(job.tokens for job in before) <= WINDOW_TOKENS


@pytest.mark.parametrize("kind", STORES)
async def test_real_workers_serve_two_small_tenants_beside_a_greedy_one(tmp_path: Path, kind: str) -> None:
    done, tenants = asyncio.Event(), dict[str, str]()
    served: list[str] = []

    def serve(call: Call) -> InferenceResult:
        served.append(tenants[call.job_id])
        if len(served) == len(tenants):
            done.set()
        return answer()

    target = ScriptedTarget("t", [serve])
    spec = replace(scripted_spec("t"), limits=Limits(concurrency=4))
    opened_store = await _opener(kind, tmp_path)(FakeClock())
    async with open_services(tmp_path, [target], specs=[spec], store=opened_store) as services:
        for tenant, count in COUNTS.items():
            for _ in range(count):
                job = await make_job(Order(body=BODY, target="t"), services, tenant=tenant)
                tenants[job.id] = tenant
                await services.jobs.add([job])
        async with WorkerProcess(services, WorkerOptions()), WorkerProcess(services, WorkerOptions()):
            await done.wait()
    first = Counter(served[: 3 * COUNTS["one"] + SLACK])
    assert (first["one"], first["two"]) == (COUNTS["one"], COUNTS["two"])
