"""What each tenant may have of what all share."""

from collections.abc import Mapping

from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.record import Record


class TenantSpec(Record, frozen=True, kw_only=True):
    """One tenant's share and limits; None is no limit."""

    weight: float = 1.0  # its share of a lane, while others want the lane too
    max_priority: int = 100  # what its jobs may ask for: a higher priority goes before every tenant's lower one
    max_queued: int | None = None  # top-level jobs that have not ended
    requests_per_minute: float | None = None  # jobs, lines of a bulk request, and batches that are made


UNLIMITED = TenantSpec()


def spec_of(tenant: str, specs: Mapping[str, TenantSpec]) -> TenantSpec:
    """The tenant's own entry, else that of the tenant ``default``."""
    return specs.get(tenant) or specs.get(DEFAULT_TENANT) or UNLIMITED
