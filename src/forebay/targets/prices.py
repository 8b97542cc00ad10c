"""Vendors' list prices, from the package ``genai-prices`` (MIT, by Pydantic): its bundled table, never its updater.

It is loaded at the first question and in one place, because it takes 0.2 s and brings pydantic and an HTTP library with
it. A price is looked up once per address, model and tier, and kept as numbers: its own calculation takes 70 µs a call.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from forebay.policy.pricing import ModelPrices, Price, Tier

_SNAPSHOT_MODULE = "genai_prices.data_snapshot"
_OTHER_OUTPUT = ("output_image_mtok", "output_audio_mtok", "output_video_mtok")
_MOST_KNOWN = 10_000  # the names of models come from requests: a bound for made-up ones
_REFRESH_SECONDS = 3600.0  # prices that begin on a date or at an hour take effect


class ListPrices:
    """A PriceTable: call it with a base URL, a model and a service tier."""

    def __init__(self) -> None:
        self._snapshot: Any = None
        self._known: dict[tuple[str, str, str | None], ModelPrices | None] = {}
        self._read_at = 0.0

    def __call__(self, base_url: str, model: str, service_tier: str | None) -> ModelPrices | None:
        """Returns the prices now; None for an address of no known vendor, or a model it doesn't list."""
        if not may_be_vendor(base_url):
            return None
        now = time.time()
        if now - self._read_at > _REFRESH_SECONDS or len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._read_at = now
        key = (base_url, model, service_tier)
        try:
            return self._known[key]
        except KeyError:
            moment = datetime.fromtimestamp(now, tz=UTC)
            found = self._known[key] = self._look_up(base_url, model, service_tier, moment)
            return found

    def load(self) -> None:
        """Loads the table ahead of the first question; takes long enough to be called in a thread."""
        if self._snapshot is None:
            self._snapshot = import_module(_SNAPSHOT_MODULE).get_snapshot()

    def _look_up(self, base_url: str, model: str, service_tier: str | None, now: datetime) -> ModelPrices | None:
        self.load()
        try:
            _, info = self._snapshot.find_provider_model(model, None, None, base_url)
        except LookupError:
            return None
        context = {"service_tier": service_tier} if service_tier else None
        return _model_prices(info.get_prices(now, context))


@lru_cache(maxsize=256)
def may_be_vendor(base_url: str) -> bool:
    """False for hosts that no vendor has (an IP address, a name without a dot): no table is loaded for them."""
    host = urlsplit(base_url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return "." in host
    return False


def _model_prices(listed: Any) -> ModelPrices | None:
    plain, output = _price(listed.input_mtok), _price(listed.output_mtok)
    if plain is None or (output is None and any(getattr(listed, name) for name in _OTHER_OUTPUT)):
        return None  # priced by image, second or request: not by tokens alone
    return ModelPrices(
        input=plain,
        output=output or Price(usd=0.0),  # embeddings have no output
        cached_input=_price(listed.cache_read_mtok),
        cache_write=_price(listed.cache_write_mtok),
        cache_write_hour=_price(listed.cache_write_1h_mtok),
    )


def _price(listed: Any) -> Price | None:
    if listed is None:
        return None
    if not hasattr(listed, "tiers"):
        return Price(usd=float(listed))
    tiers = tuple(Tier(above_tokens=tier.start, usd=float(tier.price)) for tier in listed.tiers)
    return Price(usd=float(listed.base), tiers=tiers)
