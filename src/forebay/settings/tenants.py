"""The key ``tenants`` of the configuration."""

from forebay.domain.key import DEFAULT_TENANT, TENANT
from forebay.domain.tenant import TenantSpec
from forebay.settings.reading import Reader

LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
LEAST_WEIGHT, HIGHEST_WEIGHT = 0.001, 1000.0
TENANTS = {
    "weight": "its share of a target's lane, beside tenants that want the lane too (1)",
    "max_priority": "the highest `priority` of its jobs; beyond: 400 (100). A higher one goes before the lower ones of "
    "all tenants, whatever their shares",
    "max_queued": "top-level jobs that have not ended, batches among them; beyond: 429, code `queue_full` (no limit)",
    "requests_per_minute": "jobs, lines of a bulk request, and batches made in a minute; beyond: 429, code "
    "`rate_limit_exceeded` (no limit)",
}


def read_tenants(root: Reader) -> dict[str, TenantSpec]:
    """Reads every tenant's entry."""
    return {name: _tenant(name, reader) for name, reader in root.named("tenants")}


def _tenant(name: str, reader: Reader) -> TenantSpec:
    reader.only(TENANTS)
    if TENANT.fullmatch(name) is None:
        reader.wrong(reader.item, "a tenant's name is a-z, 0-9, `.`, `_` and `-`, at most 64")
    weight = reader.number("weight", least=LEAST_WEIGHT)
    if weight is not None and weight > HIGHEST_WEIGHT:
        reader.wrong(reader.items["weight"], f"must be at most {HIGHEST_WEIGHT:g}, not {weight:g}")
    priority = reader.whole("max_priority", least=LOWEST_PRIORITY)
    if priority is not None and priority > HIGHEST_PRIORITY:
        reader.wrong(reader.items["max_priority"], f"must be at most {HIGHEST_PRIORITY}, not {priority}")
    requests = reader.number("requests_per_minute")
    if requests == 0:
        reader.wrong(reader.items["requests_per_minute"], "must be more than 0")
    return TenantSpec(
        weight=1.0 if weight is None else weight,
        max_priority=HIGHEST_PRIORITY if priority is None else priority,
        max_queued=reader.whole("max_queued", least=1),
        requests_per_minute=requests or None,
    )


def tenants_text() -> str:
    """What docs/settings.md says before the table."""
    return (
        "## Tenants\n\n`tenants` maps names to what a tenant may have. The entry "
        f"`{DEFAULT_TENANT}` holds for the tenant `{DEFAULT_TENANT}` and for every one without an entry of its own.\n"
    )
