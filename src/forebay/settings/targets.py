"""The keys ``targets`` and ``routes`` of the configuration."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from forebay.domain.errors import RequestError
from forebay.domain.function import RunIn
from forebay.domain.pipeline import Window
from forebay.domain.target import Limits, Prices, ResponsesMode, Route, RouteEntry, TargetSpec, TargetType
from forebay.models import CATALOGUE, endpoints_of, modality_of
from forebay.policy.nearest import hint
from forebay.policy.windows import read_windows
from forebay.settings.data_sources import check_embedder, read_search, read_sql
from forebay.settings.reading import NOTHING, Reader
from forebay.settings.rules import plain
from forebay.settings.source import Item

OPENAI, ANTHROPIC, HTTP, PYTHON, LOCAL, A2A, MCP, SQL, SEARCH, FOREBAY = TargetType
LOCAL_MODELS = tuple(model.name for model in CATALOGUE)
CALLED = frozenset({OPENAI, ANTHROPIC, HTTP, A2A, MCP, FOREBAY})  # over HTTP, at an address of theirs
ALL = frozenset(TargetType)
ANTHROPIC_BASE_URL = "https://api.anthropic.com"
PLACEMENTS = ("edge", "onprem", "cloud")
LIMITS = {
    "concurrency": "calls at once; learned where it is not set",
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute, input and output",
}
PRICES = {
    "input": "input tokens",
    "output": "output tokens",
    "cached_input": "input tokens read from the provider's cache; those of `input` where it is not set",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_ROUTE = re.compile(r"\S(.{0,254}\S)?")


class Key(NamedTuple):
    """A key of a target: which types have it, and its meaning. docs/settings.md has this table."""

    types: frozenset[TargetType]
    meaning: str


KEYS = {
    "type": Key(
        ALL, "`openai`, `anthropic`, `http`, `python`, `local`, `a2a`, `mcp`, `sql`, `search` or `forebay`; required"
    ),
    "base_url": Key(
        frozenset({OPENAI, ANTHROPIC, A2A, FOREBAY}),
        "the API's address; required for `openai` and `forebay` (another Forebay's server),"
        f" `{ANTHROPIC_BASE_URL}` by default for `anthropic`; of an `a2a` agent its interface, where its card names"
        " one of another origin",
    ),
    "url": Key(
        frozenset({HTTP, A2A, MCP, SQL}),
        "where `http` posts a request's body, an `a2a` agent or its card is, or an `mcp` server; of `sql` the database,"
        " `sqlite:///FILE`, `duckdb:///FILE` (relative to the configuration's folder) or"
        " `postgresql://USER@HOST/DATABASE`, never printed; required",
    ),
    "command": Key(
        frozenset({MCP}), "the `mcp` server as a program, which is started here and ends with the worker; or `url`"
    ),
    "args": Key(frozenset({MCP}), "the program's arguments, a list; never printed"),
    "env": Key(frozenset({MCP}), "the program's environment beside `PATH`, `HOME` and their like; never printed"),
    "tool": Key(frozenset({MCP}), "the tool that is called; where none is named a request's body names it"),
    "api_key": Key(CALLED, "sent as the vendor has it; never printed"),
    "function": Key(frozenset({PYTHON}), "`module:name`; required"),
    "run_in": Key(
        frozenset({PYTHON}),
        "where a sync function is called: `process` (the default; its time limit ends it) or `thread`; see"
        " python-targets.md",
    ),
    "model": Key(frozenset({LOCAL}), "a name of `forebay models list`; required"),
    "models": Key(ALL, "exact names and patterns (`gpt-*`) that it serves, in order of preference"),
    "modality": Key(ALL, "what it works on, for people; `text` by default, of a local model what it is made for"),
    "placement": Key(ALL, "`edge`, `onprem` or `cloud`, for people"),
    "responses": Key(
        frozenset({OPENAI}),
        "how it serves `/v1/responses`: `native`, `chat` (made from chat completions), or `auto`, by what its server"
        " answers (the default; a server that knows no such path is asked for chat completions from then on)",
    ),
    "query": Key(frozenset({SQL}), "one SELECT, with `:names` of the request's parameters; see data-sources.md"),
    "allow_query": Key(frozenset({SQL}), "whether a request may bring a query of its own; `false` by default"),
    "max_rows": Key(frozenset({SQL}), "the most rows of an answer (1000); there may be more: `truncated`"),
    "index": Key(
        frozenset({SEARCH}), "the file of a vector index, or `postgresql://USER@HOST/DATABASE`, never printed; required"
    ),
    "table": Key(frozenset({SEARCH}), "the index's table in PostgreSQL; `documents` by default"),
    "embedder": Key(frozenset({SEARCH}), "the target, or `target/model`, that makes a request's text a vector"),
    "k": Key(frozenset({SEARCH}), "how many matches there are where the request does not say (10)"),
    "filter": Key(frozenset({SEARCH}), "what the metadata of every match must have; see data-sources.md"),
    "limits": Key(ALL, "what it allows; see below"),
    "prices": Key(ALL, "USD per million tokens, where the library's are not wanted; see below"),
    "headers": Key(CALLED, "further headers of every call; never printed"),
    "timeout": Key(ALL, "the time limit of one call, for jobs that name none (10m)"),
    "windows": Key(
        ALL,
        'when it is called, such as `["22:00-06:00 Europe/Berlin"]`: work waits for a window, unless its deadline'
        " would not let it; see schedules.md",
    ),
}
REQUIRED = {
    OPENAI: "base_url",
    FOREBAY: "base_url",
    HTTP: "url",
    PYTHON: "function",
    LOCAL: "model",
    A2A: "url",
    SQL: "url",
    SEARCH: "index",
}


def read_targets(root: Reader, folder: Path) -> tuple[TargetSpec, ...]:
    """Reads every target, in file order: the first that matches a model serves it. Paths are relative to the folder."""
    readers = root.named("targets")
    known = [*(name for name, _ in readers), *root.mapping_items("routes")]
    for _, reader in readers:
        check_embedder(reader, known)
    specs = [_target(name, reader, folder) for name, reader in readers]
    return tuple(spec for spec in specs if spec is not None)


def _target(name: str, reader: Reader, folder: Path) -> TargetSpec | None:
    reader.only(KEYS)
    if not _NAME.fullmatch(name):
        reader.wrong(reader.item, "a target's name is letters, digits, `_`, `.` and `-`, at most 64")
    kind_name = reader.choice("type", [kind.value for kind in TargetType])
    if kind_name is None:
        if reader.is_mapping and reader.items.get("type", NOTHING).value is None:
            reader.wrong(reader.item, f"a target needs a type: one of {', '.join(TargetType)}")
        return None
    kind = TargetType(kind_name)
    _check_keys(kind, reader)
    model = reader.choice("model", LOCAL_MODELS) if kind is LOCAL else reader.text("model")
    return TargetSpec(
        name=name,
        type=kind,
        base_url=_url(reader, "base_url") or (ANTHROPIC_BASE_URL if kind is ANTHROPIC else None),
        url=None if kind is SQL else _url(reader, "url"),
        **(_server(reader) if kind is MCP else {}),
        api_key=_secret(reader, "api_key"),
        function=_function(reader),
        model=model,
        endpoints=endpoints_of(model),
        models=reader.texts("models"),
        modality=reader.text("modality") or modality_of(model),
        placement=reader.choice("placement", PLACEMENTS),
        limits=_limits(reader.mapping("limits")),
        prices=_prices(reader.mapping("prices")),
        headers=_headers(reader.mapping("headers")),
        timeout_seconds=reader.seconds("timeout"),
        windows=_windows(reader),
        responses=ResponsesMode(reader.choice("responses", list(ResponsesMode)) or ResponsesMode.AUTO),
        run_in=RunIn(run_in) if (run_in := reader.choice("run_in", tuple(RunIn))) else None,
        sql=read_sql(reader, folder) if kind is SQL else None,
        search=read_search(reader, folder) if kind is SEARCH else None,
    )


def _check_keys(kind: TargetType, reader: Reader) -> None:
    for name, item in reader.items.items():
        if name in KEYS and kind not in KEYS[name].types and item.value is not None:
            reader.wrong(item, f"a target of type {kind} has no {name}; remove the key")
    required = REQUIRED.get(kind)
    if required is not None and reader.items.get(required, NOTHING).value in (None, ""):
        reader.wrong(reader.items.get(required, reader.item), f"a target of type {kind} needs {required}")


def _server(reader: Reader) -> dict[str, Any]:
    """Where the tools of an ``mcp`` target are: a URL, or a program."""
    given = {name for name, item in reader.items.items() if item.value not in (None, "", [], {})}
    if len(given & {"url", "command"}) != 1:
        reader.wrong(reader.item, "an MCP server is a url or a command, one of both")
    for name in sorted(given & ({"args", "env"} if "url" in given else {"api_key", "headers"})):
        beside = "command" if "url" in given else "url"
        reader.wrong(reader.items[name], f"belongs to a server that is a {beside}; remove the key")
    env = reader.mapping("env")
    return {
        "command": reader.text("command") or None,
        "args": reader.texts("args"),
        "env": {name: value for name in env.items if (value := env.text(name)) is not None},
        "tool": reader.text("tool") or None,
    }


def read_routes(root: Reader, targets: Sequence[TargetSpec]) -> tuple[Route, ...]:
    """Reads every route; its entries name declared targets (also those that are wrong otherwise)."""
    declared = dict.fromkeys(root.mapping_items("targets")) | {spec.name: spec for spec in targets}
    reader = root.mapping("routes")
    routes = [_route(name, reader, declared) for name in reader.items]
    return tuple(route for route in routes if route is not None)


def _route(name: str, reader: Reader, declared: dict[str, TargetSpec | None]) -> Route | None:
    item = reader.items[name]
    if not _ROUTE.fullmatch(name):
        reader.wrong(item, "a route's name is a model's name: 1 to 256 characters, without a space at its ends")
    if not isinstance(item.value, list) or not item.value:
        reader.wrong(item, "must be a list of targets in order of preference, `target` or `target/model`")
        return None
    entries = [_entry(child, reader, declared) for child in item.value]
    found = tuple(entry for entry in entries if entry is not None)
    return Route(name=name, entries=found) if found else None


def _entry(item: Item, reader: Reader, declared: dict[str, TargetSpec | None]) -> RouteEntry | None:
    if not isinstance(item.value, str):
        reader.wrong(item, "must be `target` or `target/model`")
        return None
    target, _, model = item.value.partition("/")
    if target not in declared:
        reader.wrong(item, f"there is no target {target!r}{hint(target, declared)}")
        return None
    spec = declared[target]
    if spec is not None and not model and spec.type in {OPENAI, ANTHROPIC} and not spec.exact_models:
        message = f"target {target!r} names no exact model to send: write {target}/MODEL, or add it to its models"
        reader.wrong(item, message)
    return RouteEntry(target=target, model=model or None)


def _limits(reader: Reader) -> Limits:
    reader.only(LIMITS)
    return Limits(
        concurrency=reader.whole("concurrency", least=1),
        requests_per_minute=reader.number("requests_per_minute", least=0.001),
        tokens_per_minute=reader.number("tokens_per_minute", least=0.001),
    )


def _prices(reader: Reader) -> Prices | None:
    reader.only(PRICES)
    if not reader.items:
        return None
    count = len(reader.problems)
    input_usd, output_usd = reader.number("input"), reader.number("output")
    if input_usd is None or output_usd is None:
        if len(reader.problems) == count:
            reader.wrong(reader.item, "prices need input and output, in USD per million tokens")
        return None
    return Prices(input=input_usd, output=output_usd, cached_input=reader.number("cached_input"))


def _windows(reader: Reader) -> tuple[Window, ...]:
    item = reader.items.get("windows", NOTHING)
    try:
        return read_windows(plain(item))
    except RequestError as error:
        reader.wrong(item, error.message)
        return ()


def _headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name in reader.items:
        value = _secret(reader, name)
        if not _HEADER.fullmatch(name):
            reader.wrong(reader.items[name], "is no name of a header")
        elif value is not None:
            headers[name] = value
    return headers


def _secret(reader: Reader, name: str) -> str | None:
    """A text that goes into a header: one line of visible characters. Its value is in no message."""
    value = reader.text(name)
    if value and not (value.isascii() and value.isprintable() and value == value.strip()):
        reader.wrong(reader.items[name], "must be one line of ASCII without spaces around it (its value is not shown)")
        return None
    return value or None


def _function(reader: Reader) -> str | None:
    value = reader.text("function")
    if value and not _FUNCTION.fullmatch(value):
        reader.wrong(reader.items["function"], f"must be module:name, such as my_models:read_image, not {value!r}")
    return value


def _url(reader: Reader, name: str) -> str | None:
    url = reader.text(name)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    item = reader.items[name]
    if not is_whole or any(character.isspace() for character in url):
        reader.wrong(item, "must be an address such as http://gpu-box:8000/v1")
        return None
    if parts.username or parts.password:
        reader.wrong(item, "must not have a user name or password in it; use api_key or headers")
    if name == "base_url" and (parts.query or parts.fragment):
        reader.wrong(item, "must not have a query or a fragment: endpoints are appended to it")
    return url.rstrip("/") if name == "base_url" else url
