"""The key ``tenants``: shares and limits by name."""

from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.domain.tenant import UNLIMITED, TenantSpec, spec_of
from forebay.settings import Settings, load_settings


def loaded(folder: Path, text: str) -> Settings:
    file = folder / "forebay.yaml"
    file.write_text(text)
    return load_settings(file, {})


def test_a_tenant_has_what_its_entry_says(tmp_path: Path) -> None:
    text = "tenants:\n  shop: {weight: 2, max_queued: 10, requests_per_minute: 0.5, max_priority: 0}\n"
    expected = TenantSpec(weight=2.0, max_queued=10, requests_per_minute=0.5, max_priority=0)
    assert loaded(tmp_path, text).tenants == {"shop": expected}


def test_the_default_entry_holds_for_whom_none_is_named(tmp_path: Path) -> None:
    tenants = loaded(tmp_path, "tenants:\n  default: {max_queued: 10}\n  shop: {}\n").tenants
    assert spec_of("default", tenants).max_queued == 10
    assert spec_of("bank", tenants).max_queued == 10
    assert spec_of("shop", tenants) == UNLIMITED
    assert spec_of("bank", {}) == UNLIMITED


@pytest.mark.parametrize(
    "entry",
    [
        "Shop: {}",
        "shop: 5",
        "shop: {weight: 0}",
        "shop: {weight: 1001}",
        "shop: {max_queued: 0}",
        "shop: {max_queued: 1.5}",
        "shop: {requests_per_minute: 0}",
        "shop: {requests_per_minute: -1}",
        "shop: {max_priority: 101}",
        "shop: {max_priority: -101}",
        "shop: {max_queue: 1}",
    ],
)
def test_what_is_no_tenant_is_refused_with_its_line(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        loaded(tmp_path, f"tenants:\n  {entry}\n")
