"""Groups as each kind of them begins: on the control queue, at once, with the weight of its tenant."""

from typing import Protocol

from forebay.domain.job import Job
from forebay.domain.lane import CONTROL
from forebay.domain.tenant import spec_of
from forebay.engine.services import Services


class Asked(Protocol):
    """What every order for a group says."""

    @property
    def key(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def priority(self) -> int: ...


def make_group(kind: str, order: Asked, services: Services, *, tenant: str, deadline: float) -> Job:
    """The job without what its kind adds to it."""
    now = services.clock.now()
    return Job(
        id=services.ids.new("job"),
        kind=kind,
        queue=CONTROL,
        tenant=tenant,
        key=order.key,
        fingerprint=order.fingerprint,
        origin=order.origin,
        is_group=True,
        priority=order.priority,
        weight=spec_of(tenant, services.tenants).weight,
        created_at=now,
        due_at=now,
        deadline=deadline,
    )
