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


class Told(StrEnum):
    """What the answers tell of the limits."""

    ALL = "all"  # x-ratelimit-* with every answer, Retry-After with a 429 or 503
    RETRY_AFTER = "retry-after"
    NOTHING = "nothing"


class Move(Record, frozen=True, kw_only=True):
    """The concurrency that is allowed from so many seconds after the first call on."""

    concurrency: int
    after_seconds: float = 0.0


DEFAULT_MIX = (Fault.THROTTLED, Fault.FAILED, Fault.UNAVAILABLE, Fault.RESET, Fault.RESET_BODY, Fault.TRUNCATE)


class MockOptions(Record, frozen=True, kw_only=True):
    """Options of a mock model; all may be changed while it runs (``POST /mock/options``)."""

    latency_ms: float = 0.0
    jitter: float = 0.0  # a share of the latency: 0.2 is ±20 %
    fault_rate: float = 0.0  # 0..1, the share of calls with a fault of ``faults``, each as likely
    faults: tuple[Fault, ...] = DEFAULT_MIX
    retry_after_seconds: float = 1.0  # said with a 429 or 503 that is a fault
    told: Told = Told.ALL
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst_seconds: float = 1.0  # so much of a minute's allowance may come at once
    concurrency: int | None = None  # more calls than this at once are answered 429
    moves: tuple[Move, ...] = ()  # what ``concurrency`` becomes, by time; the last one whose time has come holds
    capacity: int | None = None  # more calls than this at once share it: their latency grows in proportion
    overload: int | None = None  # more calls than this at once are answered 503
    api_key: str | None = None  # required if set
    chat_only: bool = False  # there is no ``/v1/responses`` here, as on many servers
    models: tuple[str, ...] = ("mock",)  # what ``/v1/models`` lists; any model is answered
    hold_after: int | None = None  # calls beyond so many get no answer until this is changed, or the client goes away
    video_polls: int = 2  # how often a video is asked for until it is there
    video_bytes: int = 4096
    video_poll_ms: int | None = 20  # said with a video that is being made: ask again after so long
    stream_words_per_event: int = 1
    stream_interval_ms: float = 0.0
    seed: int = 0  # of jitter and faults


_OPTIONS = msgspec.json.Decoder(MockOptions, strict=True)


def moves_of(text: str) -> tuple[Move, ...]:
    """Reads ``37`` or ``37@0,12@30``. Raises: RequestError: it is neither."""
    moves = []
    for part in text.split(","):
        number, _, seconds = part.partition("@")
        try:
            moves.append(Move(concurrency=int(number), after_seconds=float(seconds or 0)))
        except ValueError as exc:
            raise RequestError(f"{text!r} is no concurrency: write 37, or 37@0,12@30 (12 after 30 seconds)") from exc
        if moves[-1].concurrency < 1:
            raise RequestError(f"{text!r} allows {moves[-1].concurrency} calls at once: allow at least 1")
    return tuple(sorted(moves, key=lambda move: move.after_seconds))


def changed(options: MockOptions, patch: bytes) -> MockOptions:
    """Returns the options with the members of a JSON object changed.

    Raises: RequestError: it is no object, names no option, or has a value of the wrong type.
    """
    try:
        members = msgspec.json.decode(patch, type=dict[str, msgspec.Raw])
        known = msgspec.structs.asdict(options)
        if unknown := sorted(set(members) - set(known)):
            raise RequestError(f"no option is named {unknown[0]!r}; there are: {', '.join(known)}")
        if "concurrency" in members and "moves" not in members:
            known["moves"] = ()
        return _OPTIONS.decode(msgspec.json.encode({**known, **members}))
    except msgspec.DecodeError as exc:
        raise RequestError(f"the options can't be read: {exc}") from exc
