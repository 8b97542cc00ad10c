"""What the guard tells the child that computes, in one line of JSON on its standard input."""

from forebay.domain.record import Record
from forebay.models.records import Kind


class ServerSettings(Record, frozen=True, kw_only=True):
    """How one model is served."""

    path: str  # of the file, or of the folder where there are several
    name: str
    kind: Kind = Kind.TEXT
    port: int  # of 127.0.0.1, held by the guard with SO_REUSEPORT
    api_key: str
    context_tokens: int  # text: shared by all slots, one request may use it whole
    slots: int
    threads: int
