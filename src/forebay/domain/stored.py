"""What is not work: files, keys, endpoints, rules, received events. One small record each, behind one port."""

from forebay.domain.record import Record


class StoredRecord(Record, frozen=True, kw_only=True):
    """A small JSON document, unique by ``(tenant, kind, id)``, changed only against its ``version``."""

    kind: str
    id: str
    tenant: str = "default"
    version: int = 0  # 0: not stored yet; the store makes it 1, 2, …
    data: str = "{}"  # a JSON object
    created_at: float = 0.0
    expires_at: float | None = None
    blobs: tuple[str, ...] = ()  # referenced while the record exists
