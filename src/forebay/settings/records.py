"""Settings: one frozen record, made once at start. docs/settings.md is generated from it (``settings.document``)."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from forebay.domain.pipeline import Pipeline
from forebay.domain.record import Record
from forebay.domain.rule import Rule
from forebay.domain.target import Route, TargetSpec
from forebay.domain.tenant import TenantSpec
from forebay.domain.webhook import ConfiguredEndpoint
from forebay.policy.addresses import Network
from forebay.policy.json_text import DEEPEST
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary

SECONDS, BYTES, NUMBER, TEXT = "duration", "size", "whole number", "text"


def _meaning(description: str, kind: str, **extra: Any) -> Meta:
    """``key``: the name in forebay.yaml, where not the field's own; ``shown``: the default as people write it."""
    return Meta(description=description, extra={"kind": kind, **extra})


class StoreSettings(Record, frozen=True, kw_only=True):
    """Where jobs are kept: ``path`` is SQLite's file, None where the address is PostgreSQL's."""

    url: str
    path: Path | None = None


class BucketPlace(Record, frozen=True, kw_only=True):
    """A place in S3: ``prefix`` without a slash at its ends, empty for the whole bucket."""

    bucket: str
    prefix: str = ""


class Settings(Record, frozen=True, kw_only=True):
    """Everything that can be set, from defaults, ``forebay.yaml`` and the environment (``FOREBAY_<NAME>``)."""

    store: Annotated[
        StoreSettings,
        _meaning(
            "Where jobs are kept: `sqlite:///FILE` (three slashes: relative; four: absolute), or, for several "
            "machines, `postgresql://USER@HOST/DATABASE` (extra `postgres`; `?schema=forebay`; `?pooler=transaction` "
            "behind one; `?listen=off` without LISTEN), made by `forebay store migrate`.",
            TEXT,
            shown="sqlite:///forebay.db",
        ),
    ]
    blobs: Annotated[
        Path | BucketPlace | None,  # None: in the store's own database
        _meaning(
            "Where large bodies, files and outputs are kept: the folder `file:///FOLDER`, or a relative path; or "
            "`s3://BUCKET/PREFIX` (extra `s3`) with the credentials, region and endpoint of the environment "
            "(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, or the machine's role).",
            TEXT,
            shown="beside the store, `forebay.db.blobs`; in PostgreSQL itself where the store is that",
        ),
    ]
    targets: Annotated[
        tuple[TargetSpec, ...],
        _meaning("The places that work is sent to, by name; see below.", "mapping", shown="none"),
    ] = ()
    routes: Annotated[
        tuple[Route, ...],
        _meaning("Model aliases: targets in order of preference, with failover; see below.", "mapping", shown="none"),
    ] = ()
    tenants: Annotated[
        dict[str, TenantSpec],
        _meaning("What each tenant may have of what all share; see below.", "mapping", shown="none"),
    ] = {}
    rules: Annotated[
        tuple[Rule, ...],
        _meaning(
            "Which events go to which targets, and how their answers become one; see fan-out.md.",
            "mapping",
            shown="none",
        ),
    ] = ()
    pipelines: Annotated[
        dict[str, Pipeline],
        _meaning(
            "Steps over tables, by name, each written here or as the path of a file that has it; see pipelines.md.",
            "mapping",
            shown="none",
        ),
    ] = {}
    lease_seconds: Annotated[
        float, _meaning("How long after a worker's last heartbeat its jobs are taken back.", SECONDS, shown="30s")
    ] = 30.0
    failover_after_seconds: Annotated[
        float,
        _meaning(
            "How long a target must be throttled before a route uses its next one.",
            SECONDS,
            key="failover_after",
            shown="5s",
        ),
    ] = 5.0
    http_client: Annotated[
        HttpLibrary,
        _meaning(
            "What sends calls: `wreq`, or `aiohttp` where there is no wheel of wreq, at several times the CPU. "
            "Both obey `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, `SSL_CERT_FILE` and `SSL_CERT_DIR`.",
            TEXT,
        ),
    ] = DEFAULT_LIBRARY
    log_level: Annotated[str, _meaning("`debug`, `info`, `warning` or `error`.", TEXT)] = "info"
    max_body_bytes: Annotated[
        int,
        _meaning(
            "The largest body of a request; a larger one is refused with 413.",
            BYTES,
            shown="16MiB",
        ),
    ] = 16 * 1024 * 1024
    max_batch_lines: Annotated[int, _meaning("The most lines of a batch.", NUMBER)] = 1_000_000
    max_batch_bytes: Annotated[int, _meaning("The largest input file of a batch.", BYTES, shown="4GB")] = 4_000_000_000
    default_deadline_seconds: Annotated[
        float,
        _meaning(
            "How long a job may take that names no deadline; then it ends `failed`, code `expired`.",
            SECONDS,
            key="default_deadline",
            shown="24h",
        ),
    ] = 86_400.0
    result_ttl_seconds: Annotated[
        float,
        _meaning(
            "How long a job and its result are kept after its end; then 404.", SECONDS, key="result_ttl", shown="30d"
        ),
    ] = 30 * 86_400.0
    max_bodies_bytes: Annotated[
        int,
        _meaning(
            "What the bodies that are being received may hold of memory together; beyond it, 503 for those that do not "
            "come in one piece.",
            BYTES,
            shown="256MiB",
        ),
    ] = 256 * 1024 * 1024
    max_head_bytes: Annotated[
        int, _meaning("A request's address and headers together; larger: 431.", BYTES, shown="64KiB")
    ] = 64 * 1024
    max_url_bytes: Annotated[int, _meaning("A request's address; longer: 414.", BYTES, shown="16KiB")] = 16 * 1024
    max_headers: Annotated[int, _meaning("The most headers of a request; more: 431.", NUMBER)] = 100
    head_timeout_seconds: Annotated[
        float,
        _meaning(
            "From the connection, or a request's first byte, to the end of its head; then 408.",
            SECONDS,
            key="head_timeout",
            shown="30s",
        ),
    ] = 30.0
    body_timeout_seconds: Annotated[
        float,
        _meaning(
            "Within which a body must go on coming, at `min_upload_rate`; else 408.",
            SECONDS,
            key="body_timeout",
            shown="60s",
        ),
    ] = 60.0
    min_upload_rate_bytes: Annotated[
        int,
        _meaning(
            "What must come of a body each second, over any `body_timeout`.", BYTES, key="min_upload_rate", shown="1KiB"
        ),
    ] = 1024
    max_json_depth: Annotated[
        int, _meaning(f"How deep a model's request may nest arrays and objects, at most {DEEPEST}.", NUMBER)
    ] = DEEPEST
    max_metadata_pairs: Annotated[
        int, _meaning("The most pairs of metadata; keys have up to 64, values up to 512 characters.", NUMBER)
    ] = 16
    graphql_max_depth: Annotated[
        int, _meaning("How deep an operation of `/graphql` may select; the job view takes 6.", NUMBER)
    ] = 12
    graphql_max_cost: Annotated[
        int,
        _meaning(
            "What an operation of `/graphql` may cost: 1 a field, 50 a result or a mutation, times the jobs of a page.",
            NUMBER,
        ),
    ] = 50_000
    event_ttl_seconds: Annotated[
        float,
        _meaning(
            "How long events are kept, for a look at them and a replay: no longer than `result_ttl`, and a day at "
            "least, by which a repeat is known.",
            SECONDS,
            key="event_ttl",
            shown="7d",
        ),
    ] = 7 * 86_400.0
    max_event_hops: Annotated[
        int,
        _meaning(
            "How many events may lead to one, each published by a target that the one before was sent to: an event "
            "beyond is refused, code `too_many_hops`.",
            NUMBER,
        ),
    ] = 8
    max_spawn_depth: Annotated[
        int, _meaning("How deep Python targets may split their tasks (`forebay.Spawn`), one below the other.", NUMBER)
    ] = 4
    max_spawn_children: Annotated[
        int, _meaning("Into how many jobs one may split its task, over all its rounds; at most 1000.", NUMBER)
    ] = 100
    max_spawned_jobs: Annotated[
        int, _meaning("How many jobs there may be below one that began to split its task, in all.", NUMBER)
    ] = 1000
    spawn_budget_usd: Annotated[
        float | None,
        _meaning("What all below a split task may cost together, where it has no `budget_usd`.", "USD", shown="none"),
    ] = None
    webhooks: Annotated[
        tuple[ConfiguredEndpoint, ...],
        _meaning(
            "`webhooks: [{url, secret, events}]`: who hears of the ends of jobs, of every tenant; see webhooks.md.",
            "mapping",
            key="notify",
            shown="none",
        ),
    ] = ()
    webhook_allow: Annotated[
        tuple[Network, ...],
        _meaning(
            "Networks that webhooks may reach although they are private: `[10.0.0.0/8]`; in the environment with "
            "commas.",
            "list",
            shown="none",
        ),
    ] = ()
    secret_key: Annotated[
        str | None,
        _meaning(
            "What the secrets of webhooks are derived from, the same on all machines; never printed.",
            TEXT,
            shown="made in a file beside a SQLite store, `forebay.db.secret`; none with PostgreSQL",
        ),
    ] = None
    public_url: Annotated[
        str | None,
        _meaning(
            "Where agents reach this server, `https://forebay.example.com`: with it they push what they did (see "
            "agents.md); without it they are polled.",
            TEXT,
            shown="none",
        ),
    ] = None
    file: Path | None = None  # the configuration that was read
