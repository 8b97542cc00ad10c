"""The keys ``notify``, ``webhook_allow``, ``secret_key`` and ``public_url`` of the configuration."""

import base64
import binascii
import hashlib

from forebay.domain.errors import RequestError
from forebay.domain.webhook import CONFIGURED, ConfiguredEndpoint
from forebay.policy.addresses import Network, is_allowed, is_literal, read_network, read_url
from forebay.policy.events import EVENT_TYPES, is_pattern
from forebay.policy.nearest import hint
from forebay.settings.reading import Reader
from forebay.settings.source import Item

PREFIX = "whsec_"
SHORTEST_SECRET_BYTES, LONGEST_SECRET_BYTES = 16, 64  # Standard Webhooks asks for 24 at least
SHORTEST_KEY = 16  # characters of `secret_key`
_WEBHOOK = ("url", "secret", "events")


class SecretText(str):
    """A text that shows in no log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[set]'"


def read_webhooks(root: Reader, allowed: tuple[Network, ...]) -> tuple[ConfiguredEndpoint, ...]:
    """Reads ``notify.webhooks``. Names are looked up when something is sent, not at start: DNS may be away."""
    notify = root.mapping("notify")
    notify.only(("webhooks",))
    found: dict[str, ConfiguredEndpoint] = {}
    item = notify.items.get("webhooks")
    if item is None or item.value is None:
        return ()
    if not isinstance(item.value, list):
        notify.wrong(item, "must be a list of webhooks, each with url, secret and events")
        return ()
    for child in item.value:
        endpoint = _webhook(Reader(child, root.problems), allowed)
        if endpoint is None:
            continue
        if endpoint.id in found:
            root.wrong(child, "stands twice with this url; name all its events in one entry")
        found[endpoint.id] = endpoint
    return tuple(found.values())


def read_networks(reader: Reader) -> tuple[Network, ...]:
    """Reads ``webhook_allow``: a list, or from the environment a text with commas."""
    item = reader.items.get("webhook_allow")
    if item is None or item.value is None:
        return ()
    if isinstance(item.value, str):
        items = [Item(part, item.line, item.key) for part in item.value.split(",") if part.strip()]
    elif isinstance(item.value, list):
        items = item.value
    else:
        reader.wrong(item, "must be a list of networks such as 10.0.0.0/8")
        return ()
    networks: list[Network] = []
    for one in items:
        try:
            networks.append(read_network(str(one.value)))
        except ValueError as exc:
            reader.wrong(one, f"{one.value!r} is no network such as 10.0.0.0/8 or fd00::/8: {exc}")
    return tuple(networks)


def read_secret_key(reader: Reader) -> SecretText | None:
    """Reads ``secret_key``, which is never shown."""
    key = reader.text("secret_key")
    if not key:
        return None
    if len(key) < SHORTEST_KEY:
        reader.wrong(reader.items["secret_key"], f"must have {SHORTEST_KEY} characters at least, drawn at random")
        return None
    return SecretText(key)


def read_public_url(reader: Reader, *, has_secret: bool) -> str | None:
    """Reads ``public_url``. ``has_secret``: one is made where none is set, by which pushes can be told from others."""
    url = reader.text("public_url")
    if not url:
        return None
    item = reader.items["public_url"]
    try:
        parts = read_url(url, "public_url")
    except RequestError as exc:
        reader.wrong(item, exc.message.removeprefix("public_url: "))
        return None
    if parts.query:
        reader.wrong(item, "must not have a query: paths are appended to it")
    if not has_secret and not reader.text("secret_key"):
        reader.wrong(item, "needs secret_key beside it, the same on all machines: pushes are known by it")
    return url.rstrip("/")


def _webhook(reader: Reader, allowed: tuple[Network, ...]) -> ConfiguredEndpoint | None:
    reader.only(_WEBHOOK)
    url, secret = _url(reader, allowed), _secret(reader)
    events = _events(reader)
    if url is None or secret is None or events is None:
        return None
    mark = hashlib.sha256(url.encode()).hexdigest()[:26]
    return ConfiguredEndpoint(id=f"{CONFIGURED}{mark}", url=url, secret=secret, events=events)


def _url(reader: Reader, allowed: tuple[Network, ...]) -> str | None:
    url = reader.text("url")
    if not url:
        if reader.is_mapping:
            reader.wrong(reader.items.get("url", reader.item), "a webhook needs a url")
        return None
    try:
        host = read_url(url, "url").hostname or ""
    except RequestError as exc:
        reader.wrong(reader.items["url"], exc.message.removeprefix("url: "))
        return None
    if is_literal(host) and not is_allowed(host, allowed):
        reader.wrong(reader.items["url"], "is a private or reserved address, which no network of webhook_allow has")
        return None
    return url


def _secret(reader: Reader) -> str | None:
    secret = reader.text("secret")
    item = reader.items.get("secret", reader.item)
    if not secret:
        if reader.is_mapping:
            reader.wrong(item, "a webhook needs a secret, whsec_ and standard base64")
        return None
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST_SECRET_BYTES <= len(key) <= LONGEST_SECRET_BYTES:
        most = f"{SHORTEST_SECRET_BYTES} to {LONGEST_SECRET_BYTES} bytes"
        reader.wrong(item, f"must be {PREFIX} and the standard base64 of {most}, as `openssl rand -base64 32` makes")
        return None
    return SecretText(secret)


def _events(reader: Reader) -> tuple[str, ...] | None:
    if "events" not in reader.items or reader.items["events"].value is None:
        return ()
    events = reader.texts("events")
    item = reader.items["events"]
    if not events:
        reader.wrong(item, "names no event; leave it away for all of them")
        return None
    is_right = True
    for event in events:
        if not is_pattern(event):
            reader.wrong(item, f"{event!r} names none of {', '.join(EVENT_TYPES)}{hint(event, EVENT_TYPES)}")
            is_right = False
    return events if is_right else None
