"""Services: everything a handler may work with, made once by the composition root."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay.domain.ids import IdSource
from forebay.domain.pipeline import Pipeline
from forebay.domain.target import Route, TargetSpec
from forebay.domain.tenant import TenantSpec
from forebay.domain.webhook import ConfiguredEndpoint
from forebay.engine.notices import Notices
from forebay.engine.rules import Rules
from forebay.engine.triggers.patterns import EventTriggers
from forebay.policy.json_text import DEEPEST
from forebay.policy.pricing import PriceTable
from forebay.policy.resolution import Resolver
from forebay.ports import BlobStore, Clock, JobStore, LimitStore, Notifier, RecordStore, Tables, Target
from forebay.ports.arrivals import Arrivals
from forebay.ports.asking import RequestTables
from forebay.secrets import Secrets
from forebay.telemetry import MetricsRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large work may be and how long it may take."""

    max_batch_lines: int = 1_000_000
    max_batch_bytes: int = 4 * 10**9
    default_deadline_seconds: float = 86_400.0
    result_ttl_seconds: float = 30 * 86_400.0
    max_json_depth: int = DEEPEST
    max_metadata_pairs: int = 16
    max_event_hops: int = 8
    event_ttl_seconds: float = 7 * 86_400.0
    max_spawn_depth: int = 4
    max_spawn_children: int = 100
    max_spawned_jobs: int = 1000
    spawn_budget_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports with their adapters, and the pure parts that need configuration."""

    clock: Clock
    ids: IdSource
    chance: random.Random
    jobs: JobStore
    records: RecordStore
    limits: LimitStore
    blobs: BlobStore
    targets: Mapping[str, Target]
    specs: Mapping[str, TargetSpec]
    resolver: Resolver
    routes: tuple[Route, ...] = ()
    tenants: Mapping[str, TenantSpec] = field(default_factory=dict)
    prices: PriceTable
    bounds: Bounds
    meters: MetricsRegistry = field(default_factory=MetricsRegistry)
    notices: Notices = field(default_factory=Notices)
    rules: Rules = field(default_factory=Rules)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)
    event_triggers: EventTriggers = field(default_factory=EventTriggers)
    arrivals: Arrivals | None = None  # None where no trigger looks for files
    tables: Tables | None = None  # None where no step is run
    requests: RequestTables | None = None  # likewise
    secrets: Secrets = field(default_factory=Secrets)
    webhooks: Mapping[str, ConfiguredEndpoint] = field(default_factory=dict)
    notifier: Notifier | None = None  # None where nothing is sent
