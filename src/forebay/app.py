"""The composition root, where engine and adapters meet. Servers, commands and tests open a System here."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from forebay.blobs.files import open_blobs
from forebay.blobs.postgres import Database, open_postgres_blobs
from forebay.connectors.arrivals import Places
from forebay.connectors.data_sources import Connectors
from forebay.connectors.inference import DuckRequests
from forebay.connectors.tables import DuckTables
from forebay.domain.errors import ConfigurationError
from forebay.domain.ids import IdSource
from forebay.domain.target import TargetSpec, TargetType
from forebay.engine.notices import Notices
from forebay.engine.rules import Rules
from forebay.engine.services import Bounds, Services
from forebay.engine.triggers.patterns import EventTriggers
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.models import LocalModels, find_model
from forebay.notifiers.webhooks import WebhookNotifier
from forebay.outgoing import Guard
from forebay.policy.resolution import Resolver
from forebay.policy.vigil import PATIENCE_SECONDS, Vigil
from forebay.ports import BlobStore, Clock, JobStore, LimitStore, RecordStore
from forebay.secrets import Secrets, secret_path
from forebay.settings import BucketPlace, Settings
from forebay.stores.drivers import store_driver
from forebay.stores.sqlite import open_store
from forebay.targets.a2a_push import Pushes
from forebay.targets.build import Surroundings, build_targets
from forebay.targets.prices import ListPrices
from forebay.targets.python_function import PythonTarget

CONNECTIONS = 8  # to a data source, where the target declares no concurrency


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


class Store(Protocol):
    """What every back end opens: three ports, and the id of the blob store it was first opened with."""

    @property
    def jobs(self) -> JobStore: ...

    @property
    def records(self) -> RecordStore: ...

    @property
    def limits(self) -> LimitStore: ...

    async def bind_blobs(self, store_id: str) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What an installation keeps. ``reopen_blobs`` opens the same blobs once more, with ids of another source."""

    store: Store
    blobs: BlobStore
    reopen_blobs: Callable[[IdSource], Awaitable[BlobStore]]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An opened installation: its settings, its store, and the services that the engine and the API work with."""

    settings: Settings
    services: Services
    store: Store

    def worker(self, options: WorkerOptions | None = None) -> WorkerProcess:
        """A worker on this store; ``async with`` starts it, leaving drains it."""
        return WorkerProcess(self.services, options or self.worker_options())

    def worker_options(self, **changes: Any) -> WorkerOptions:
        """How the settings want a worker to behave, with changes of the caller's."""
        settings = self.settings
        wanted = {
            "lease_seconds": settings.lease_seconds,
            "failover_after_seconds": settings.failover_after_seconds,
            **changes,
        }
        return WorkerOptions(**wanted)


@asynccontextmanager
async def open_system(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[System]:
    """Opens store, blobs and targets as configured, and closes them in the reverse order.

    Raises: StoreRefused, ConfigurationError: one sentence for exit 2.
    """
    given, clock = clock, clock or SystemClock()
    ids = IdSource(clock.now)
    specs = [_with_slots(spec) for spec in settings.targets]
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings, clock=given, ids=ids))
        store, blobs = storage.store, storage.blobs
        prices = ListPrices()
        local = LocalModels()
        stack.push_async_callback(local.close)
        secrets = Secrets(settings.secret_key, secret_path(settings.store.path) if settings.store.path else None)
        pushes = Pushes(settings.public_url, secrets) if settings.public_url else None
        building = build_targets(
            specs,
            around=Surroundings(local=local, sources=Connectors(), pushes=pushes),
            prices=prices,
            library=settings.http_client,
        )
        targets = await stack.enter_async_context(building)
        specs = [target.spec if isinstance(target := targets[spec.name], PythonTarget) else spec for spec in specs]
        tables = DuckTables(blobs)
        stack.push_async_callback(tables.close)
        notifier = WebhookNotifier(Guard(settings.webhook_allow))
        stack.push_async_callback(notifier.close)
        services = Services(
            clock=clock,
            ids=ids,
            chance=random.Random(),  # noqa: S311 - jitter, no secret
            jobs=store.jobs,
            records=store.records,
            limits=store.limits,
            blobs=blobs,
            targets=targets,
            specs={spec.name: spec for spec in specs},
            resolver=Resolver(specs, settings.routes),
            routes=settings.routes,
            tenants=settings.tenants,
            prices=prices,
            bounds=Bounds(
                max_batch_lines=settings.max_batch_lines,
                max_batch_bytes=settings.max_batch_bytes,
                default_deadline_seconds=settings.default_deadline_seconds,
                result_ttl_seconds=settings.result_ttl_seconds,
                max_json_depth=settings.max_json_depth,
                max_metadata_pairs=settings.max_metadata_pairs,
                max_event_hops=settings.max_event_hops,
                event_ttl_seconds=settings.event_ttl_seconds,
                max_spawn_depth=settings.max_spawn_depth,
                max_spawn_children=settings.max_spawn_children,
                max_spawned_jobs=settings.max_spawned_jobs,
                spawn_budget_usd=settings.spawn_budget_usd,
            ),
            notices=Notices(store.records, clock, settings.webhooks),
            rules=Rules(store.records, clock, settings.rules),
            secrets=secrets,
            pipelines=settings.pipelines,
            event_triggers=EventTriggers(settings.pipelines.values()),
            arrivals=Places(),
            tables=tables,
            requests=DuckRequests(tables),
            webhooks={one.id: one for one in settings.webhooks},
            notifier=notifier,
        )
        yield System(settings=settings, services=services, store=store)


@asynccontextmanager
async def open_storage(
    settings: Settings,
    *,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[Storage]:
    """Opens store and blobs alone, for what needs no target. ``patience_seconds``: see Vigil.

    Raises: StoreRefused, ConfigurationError.
    """
    machine = clock or SystemClock()
    source = ids or IdSource(machine.now)
    vigil = Vigil(patience_seconds)
    database: Database | None = None
    if settings.store.path is None:  # the shared store, whose times are the database's unless a test gives a clock
        opened = await store_driver("postgresql").open_store(settings.store.url, clock=clock, ids=source, vigil=vigil)
        store: Store = opened
        database, place = opened.backend, settings.blobs
    else:
        store = await open_store(settings.store.path, clock=machine, vigil=vigil)
        place = settings.blobs or settings.store.path.with_name(settings.store.path.name + ".blobs")

    async def reopen(ids: IdSource) -> BlobStore:
        if isinstance(place, BucketPlace):
            driver = store_driver("s3")
            in_bucket: BlobStore = await driver.open_object_blobs(place.bucket, place.prefix, clock=machine, ids=ids)
            return in_bucket
        if place is not None:
            return await open_blobs(place, clock=machine, ids=ids)
        if database is None:
            raise ConfigurationError("`blobs:` names no place")
        return await open_postgres_blobs(database, ids=ids)

    try:
        blobs = await reopen(source)
        await store.bind_blobs(blobs.store_id)
        yield Storage(store=store, blobs=blobs, reopen_blobs=reopen)
    finally:
        await store.close()


def _with_slots(spec: TargetSpec) -> TargetSpec:
    """A local model takes as many calls at once as its server has slots, and a data source as many as we have
    connections to it: nothing has to be learned.
    """
    if spec.limits.concurrency is not None:
        return spec
    if spec.type is TargetType.LOCAL and spec.model is not None:
        slots = find_model(spec.model).slots
    elif spec.type in {TargetType.SQL, TargetType.SEARCH}:
        slots = CONNECTIONS
    else:
        return spec
    return msgspec.structs.replace(spec, limits=msgspec.structs.replace(spec.limits, concurrency=slots))
