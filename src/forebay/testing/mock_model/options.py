"""What the mock model does beside answering: latency, limits and faults, all on demand."""

from enum import StrEnum

import msgspec

from forebay.domain.errors import RequestError
from forebay.domain.record import Record


class Fault(StrEnum):
    """What may go wrong with a call. A status is a fault too: ``[[fault:422]]``."""

    THROTTLED = "429"  # with Retry-After
    FAILED = "500"
    UNAVAILABLE = "503"
    HANG = "hang"  # no answer, until the client goes away
    RESET = "reset"  # the connection is reset without an answer
    RESET_BODY = "reset-body"  # … in the middle of the answer's body
    CLOSE_BODY = "close-body"  # closed in good order in the middle of the body
    TRUNCATE = "truncate"  # a whole HTTP answer whose JSON ends in the middle
    INVALID = "invalid"  # 200 with something that is not JSON


DEFAULT_MIX = (Fault.THROTTLED, Fault.FAILED, Fault.UNAVAILABLE, Fault.RESET, Fault.RESET_BODY, Fault.TRUNCATE)


class MockOptions(Record, frozen=True, kw_only=True):
    """Options of a mock model; all may be changed while it runs (``POST /mock/options``)."""

    latency_ms: float = 0.0
    jitter: float = 0.0  # a share of the latency: 0.2 is ±20 %
    fault_rate: float = 0.0  # 0..1, the share of calls with a fault of ``faults``, each as likely
    faults: tuple[Fault, ...] = DEFAULT_MIX
    retry_after_seconds: float = 1.0  # said with a 429 or 503 that is a fault
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None  # more calls than this at once are answered 429
    api_key: str | None = None  # required if set
    models: tuple[str, ...] = ("mock",)  # what ``/v1/models`` lists; any model is answered
    stream_words_per_event: int = 1
    stream_interval_ms: float = 0.0
    seed: int = 0  # of jitter and faults


_OPTIONS = msgspec.json.Decoder(MockOptions, strict=True)


def changed(options: MockOptions, patch: bytes) -> MockOptions:
    """Returns the options with the members of a JSON object changed.

    Raises: RequestError: it is no object, names no option, or has a value of the wrong type.
    """
    try:
        members = msgspec.json.decode(patch, type=dict[str, msgspec.Raw])
        known = msgspec.structs.asdict(options)
        if unknown := sorted(set(members) - set(known)):
            raise RequestError(f"no option is named {unknown[0]!r}; there are: {', '.join(known)}")
        return _OPTIONS.decode(msgspec.json.encode({**known, **members}))
    except msgspec.DecodeError as exc:
        raise RequestError(f"the options can't be read: {exc}") from exc
