"""The keys ``targets`` and ``routes`` of the configuration."""

from collections.abc import Sequence

from forebay.domain.target import Limits, Prices, Route, RouteEntry, TargetSpec, TargetType
from forebay.policy.nearest import hint
from forebay.settings.reading import Reader

KEYS = [
    "type",
    "base_url",
    "url",
    "api_key",
    "function",
    "model",
    "models",
    "modality",
    "placement",
    "limits",
    "prices",
    "headers",
    "timeout",
]
REQUIRED = {
    TargetType.OPENAI: "base_url",
    TargetType.HTTP: "url",
    TargetType.PYTHON: "function",
    TargetType.LOCAL: "model",
}
ANTHROPIC_BASE_URL = "https://api.anthropic.com"
PLACEMENTS = ("edge", "onprem", "cloud")


def read_targets(root: Reader) -> tuple[TargetSpec, ...]:
    """Reads every target, in file order: the first that matches a model serves it."""
    specs = [_target(name, reader) for name, reader in root.named("targets")]
    return tuple(spec for spec in specs if spec is not None)


def _target(name: str, reader: Reader) -> TargetSpec | None:
    reader.only(KEYS)
    kind_name = reader.choice("type", list(TargetType))
    if kind_name is None:
        if "type" not in reader.items:
            reader.wrong(reader.item, f"a target needs a type: one of {', '.join(TargetType)}")
        return None
    kind = TargetType(kind_name)
    required = REQUIRED.get(kind)
    if required is not None and not reader.text(required):
        reader.wrong(reader.item, f"a target of type {kind} needs {required}")
    base_url = _url(reader, "base_url")
    return TargetSpec(
        name=name,
        type=kind,
        base_url=base_url or (ANTHROPIC_BASE_URL if kind is TargetType.ANTHROPIC else None),
        url=_url(reader, "url"),
        api_key=reader.text("api_key") or None,
        function=reader.text("function"),
        model=reader.text("model"),
        models=reader.texts("models"),
        modality=reader.text("modality") or "text",
        placement=reader.choice("placement", PLACEMENTS),
        limits=_limits(reader.mapping("limits")),
        prices=_prices(reader.mapping("prices")),
        headers=_headers(reader.mapping("headers")),
        timeout_seconds=reader.seconds("timeout"),
    )


def read_routes(root: Reader, targets: Sequence[TargetSpec]) -> tuple[Route, ...]:
    """Reads every route; its entries name declared targets."""
    names = [spec.name for spec in targets]
    routes = []
    for name in root.mapping("routes").items:
        entries = []
        for text in root.mapping("routes").texts(name):
            target, _, model = text.partition("/")
            if target not in names:
                item = root.mapping("routes").items[name]
                root.wrong(item, f"there is no target {target!r}{hint(target, names)}")
                continue
            entries.append(RouteEntry(target=target, model=model or None))
        if entries:
            routes.append(Route(name=name, entries=tuple(entries)))
        elif not root.problems:
            root.wrong(root.mapping("routes").items[name], "a route needs at least one target")
    return tuple(routes)


def _limits(reader: Reader) -> Limits:
    reader.only(["concurrency", "requests_per_minute", "tokens_per_minute"])
    return Limits(
        concurrency=reader.whole("concurrency", least=1),
        requests_per_minute=reader.number("requests_per_minute", least=0.001),
        tokens_per_minute=reader.number("tokens_per_minute", least=0.001),
    )


def _prices(reader: Reader) -> Prices | None:
    reader.only(["input", "output", "cached_input"])
    if not reader.items:
        return None
    input_usd, output_usd = reader.number("input"), reader.number("output")
    if input_usd is None or output_usd is None:
        reader.wrong(reader.item, "prices need input and output, in USD per million tokens")
        return None
    return Prices(input=input_usd, output=output_usd, cached_input=reader.number("cached_input"))


def _headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name in reader.items:
        value = reader.text(name)
        if value is not None and ("\n" in value or "\r" in value):
            reader.wrong(reader.items[name], "a header's value is one line")
        elif value is not None:
            headers[name] = value
    return headers


def _url(reader: Reader, name: str) -> str | None:
    url = reader.text(name)
    if url is not None and not url.startswith(("http://", "https://")):
        reader.wrong(reader.items[name], f"must begin with http:// or https://, not {url.partition(':')[0]!r}")
        return None
    return url
