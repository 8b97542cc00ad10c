"""Loads Settings: defaults, then ``forebay.yaml``, then ``FOREBAY_<NAME>`` of the environment, validated whole."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec
from forebay.settings.limits import LIMITS, read_limits
from forebay.settings.notify import read_networks, read_public_url, read_secret_key, read_webhooks
from forebay.settings.pipelines import read_pipelines
from forebay.settings.reading import EMPTY, Reader
from forebay.settings.records import BucketPlace, Settings, StoreSettings
from forebay.settings.rules import read_rules
from forebay.settings.source import ENVIRONMENT, Item, Problem, Source
from forebay.settings.targets import read_routes, read_targets
from forebay.settings.tenants import read_tenants
from forebay.targets.clients import HttpLibrary

DEFAULT_FILE = "forebay.yaml"
DEFAULT_STORE = "sqlite:///forebay.db"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql", "postgres")
STEP = r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*"  # of a prefix; never `..`
BUCKET_PLACE = re.compile(rf"(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(/(?P<prefix>{STEP}(/{STEP})*)?/?)?")
LOG_LEVELS = ("debug", "info", "warning", "error")
SCALARS = (
    "store",
    "blobs",
    "lease_seconds",
    "failover_after",
    "http_client",
    "log_level",
    "max_body_bytes",
    "max_batch_lines",
    "max_batch_bytes",
    "default_deadline",
    "result_ttl",
    *LIMITS,
    "secret_key",
    "public_url",
)
KEYS = (*SCALARS, "targets", "routes", "tenants", "rules", "pipelines", "notify", "webhook_allow")


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads ``path``, or ``./forebay.yaml`` if there is one.

    Raises: ConfigurationError: everything that is wrong, each with file, line and key.
    """
    file = path or (Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None)
    source = Source(environ)
    root = source.parse(_text(file)) if file else EMPTY
    folder = (file.parent if file else Path()).absolute()
    settings = _settings(Reader(root, source.problems), environ, folder, file)
    if source.problems:
        shown = str(file) if file else "the environment"
        raise ConfigurationError("\n".join(problem.sentence(shown) for problem in sorted(source.problems, key=_line)))
    return settings


def with_target(settings: Settings, spec: TargetSpec) -> Settings:
    """The same settings with one more target, before all others (``forebay run --base-url``)."""
    others = tuple(one for one in settings.targets if one.name != spec.name)
    return msgspec.structs.replace(settings, targets=(spec, *others))


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as plain values for display, without a secret in them."""
    shown: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=str)
    shown["store"]["url"] = without_password(settings.store.url)
    for target in shown["targets"]:
        target["api_key"] = "[set]" if target["api_key"] else None
        target["headers"] = dict.fromkeys(target["headers"], "[set]")
        target["env"] = dict.fromkeys(target["env"], "[set]")
        target["args"] = ["[set]" for _ in target["args"]]
        for source, key in ((target["sql"], "url"), (target["search"], "index")):
            if source is not None:
                source[key] = without_password(source[key])
    for rule in shown["rules"]:
        if rule["notify"] is not None:
            rule["notify"] = rule["source"]["notify"] = "[set]"
    shown["webhooks"] = [{**webhook, "url": "[set]", "secret": "[set]"} for webhook in shown["webhooks"]]
    shown["secret_key"] = "[set]" if settings.secret_key else None
    return shown


def without_password(url: str) -> str:
    """An address as people may see it."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, host = parts.username or "", parts.netloc.rpartition("@")[2]
    return url.replace(parts.netloc, f"{user}:[set]@{host}", 1)


def _settings(reader: Reader, environ: Mapping[str, str], folder: Path, file: Path | None) -> Settings:
    reader.only(KEYS)
    targets = read_targets(reader, folder)
    routes = read_routes(reader, targets)
    tenants = read_tenants(reader)
    rules = read_rules(reader, targets, routes)
    pipelines = read_pipelines(reader, folder, (targets, routes), environ)
    reader.items = {**reader.items, **_from_environment(environ)}
    allowed = read_networks(reader)
    default = Settings(store=_store(reader, folder), blobs=Path())
    return Settings(
        store=default.store,
        blobs=_blobs(reader, folder, default.store),
        targets=targets,
        routes=routes,
        tenants=tenants,
        rules=rules,
        pipelines=pipelines,
        lease_seconds=reader.seconds("lease_seconds") or default.lease_seconds,
        failover_after_seconds=reader.seconds("failover_after") or default.failover_after_seconds,
        http_client=HttpLibrary(reader.choice("http_client", tuple(HttpLibrary)) or default.http_client),
        log_level=reader.choice("log_level", LOG_LEVELS) or default.log_level,
        max_body_bytes=reader.size("max_body_bytes") or default.max_body_bytes,
        max_batch_lines=reader.whole("max_batch_lines", least=1) or default.max_batch_lines,
        max_batch_bytes=reader.size("max_batch_bytes") or default.max_batch_bytes,
        default_deadline_seconds=reader.seconds("default_deadline") or default.default_deadline_seconds,
        result_ttl_seconds=reader.seconds("result_ttl") or default.result_ttl_seconds,
        **read_limits(reader),
        webhooks=read_webhooks(reader, allowed),
        webhook_allow=allowed,
        secret_key=read_secret_key(reader),
        public_url=read_public_url(reader, has_secret=default.store.path is not None),
        file=file,
    )


def _line(problem: Problem) -> float:
    return math.inf if problem.line is None else problem.line


def _from_environment(environ: Mapping[str, str]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for name in (*SCALARS, "webhook_allow"):
        variable = ENVIRONMENT + name.upper()
        if environ.get(variable):
            found[name] = Item(environ[variable], None, variable)
    return found


def _store(reader: Reader, folder: Path) -> StoreSettings:
    url = reader.text("store") or DEFAULT_STORE
    name = url.removeprefix(SQLITE)
    if url.startswith(SQLITE) and name.strip("/") and "?" not in name and not name.startswith(":"):
        return StoreSettings(url=url, path=folder / name)
    scheme = url.partition("://")[0]
    if scheme in POSTGRES and _is_database(url):
        return StoreSettings(url=url)
    if scheme in POSTGRES:
        message = "must be postgresql://USER@HOST/DATABASE"
    elif scheme == "aws":
        message = f"this version of Forebay has no {scheme} store yet; use {DEFAULT_STORE}"
    else:
        message = (
            "must be sqlite:///FILE (relative to the configuration's folder), sqlite:////ABSOLUTE/FILE or "
            "postgresql://USER@HOST/DATABASE"
        )
    reader.wrong(reader.items["store"], message)
    return StoreSettings(url=DEFAULT_STORE, path=folder / "forebay.db")


def _is_database(url: str) -> bool:
    """Whether it names a database; of its parameters the store tells at start."""
    try:
        parts = urlsplit(url)
        return bool(parts.path.strip("/")) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _blobs(reader: Reader, folder: Path, store: StoreSettings) -> Path | BucketPlace | None:
    url = reader.text("blobs")
    if not url:
        return None if store.path is None else store.path.with_name(store.path.name + ".blobs")
    if url.startswith("file:///"):
        return Path(url.removeprefix("file://"))
    if "://" not in url:
        return folder / url
    scheme, _, place = url.partition("://")
    if scheme == "s3" and (found := BUCKET_PLACE.fullmatch(place)):
        return BucketPlace(bucket=found["bucket"], prefix=found["prefix"] or "")
    if scheme == "s3":
        message = "must be s3://BUCKET/PREFIX; credentials, region and endpoint are the environment's (AWS_…)"
    elif scheme == "file":
        message = "must be file:///FOLDER with three slashes, or a path relative to the configuration's folder"
    else:
        message = (
            f"this version of Forebay does not keep blobs in {scheme}:// yet; use file:///FOLDER or s3://BUCKET/PREFIX"
        )
    reader.wrong(reader.items["blobs"], message)
    return folder


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{file} does not exist") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file} can't be read: {exc}") from exc
