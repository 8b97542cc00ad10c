"""What the guard tells the child that computes, in one line of JSON on its standard input."""

from forebay.domain.record import Record


class ServerSettings(Record, frozen=True, kw_only=True):
    """How one model is served."""

    path: str
    name: str
    port: int  # of 127.0.0.1, held by the guard with SO_REUSEPORT
    api_key: str
    context_tokens: int  # shared by all slots: one request may use it whole
    slots: int
    threads: int
