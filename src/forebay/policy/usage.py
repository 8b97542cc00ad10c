"""How many tokens a call used, read from its answer; and how many it may use, estimated from its request.

Called by targets (answers), and by submission and the engine (estimates). Only the members that are needed are decoded.
"""

from functools import lru_cache
from typing import Annotated

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.record import Record

BYTES_PER_TOKEN = 4  # English and JSON by the usual tokenizers: 3.5 to 4.5
MOST_TOKENS = 100_000_000  # of one request: more is a slip, and would outweigh every other tenant's work for good
DEFAULT_OUTPUT_TOKENS = 1024  # where a generating request names no bound
_TEXTLESS_OUTPUT = ("/embeddings", "/moderations", "/audio/speech", "/rerank", "/images/", "/videos")


class Metering(Record, frozen=True, kw_only=True):
    """What an answer says of itself: tokens, and what decides their price beyond their number."""

    usage: Usage | None = None
    cache_write_tokens: int = 0  # part of the input; Anthropic asks more for them
    cache_write_hour_tokens: int = 0  # of these, kept for an hour: dearer again
    other_tokens: int = 0  # audio and images, in and out: priced apart
    service_tier: str | None = None
    model: str | None = None


class Estimate(Record, frozen=True, kw_only=True):
    """Tokens a request may use: what fair ranks and token limits charge before it is sent."""

    input_tokens: int
    output_tokens: int  # the bound the request names, else DEFAULT_OUTPUT_TOKENS
    is_bounded: bool  # the request names the bound

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # what every store and every program of JSON holds


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    image_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: _Count | None = None


class _Counts(msgspec.Struct, gc=False):
    """OpenAI's chat (prompt, completion) and Responses, images (input, output), and Anthropic's messages."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_creation: _CacheCreation | None = None


class _Answer(msgspec.Struct, gc=False):
    usage: _Counts | None = None
    model: str | None = None
    service_tier: str | None = None


class _Bounds(msgspec.Struct, gc=False):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_SYNTAX = msgspec.json.Decoder(msgspec.Raw)  # reads no number: 1e400 is JSON
_BOUNDS = msgspec.json.Decoder(_Bounds)
_NO_DETAILS = _Details()
NOTHING_METERED = Metering()


def read_metering(body: bytes) -> Metering:
    """Reads an answer's usage; a shape that isn't understood gives ``usage`` None, never zero.

    Raises: msgspec.DecodeError: the body is not JSON (truncated, a page of HTML).
    """
    try:
        answer = _decoded(body)
    except UnicodeDecodeError as exc:
        raise msgspec.DecodeError("the body is not UTF-8") from exc
    except RecursionError as exc:
        raise msgspec.DecodeError("the body is nested too deeply") from exc
    counts = answer.usage
    if counts is None:
        return Metering(model=answer.model, service_tier=answer.service_tier) if answer.model else NOTHING_METERED
    return _metering(answer, counts)


def estimate_request(body: bytes, endpoint: str) -> Estimate:
    """Estimates the tokens of a request by its bytes and the bound that it names; microseconds, never an exception."""
    input_tokens = max(1, len(body) // BYTES_PER_TOKEN)
    if _is_textless(endpoint):
        return Estimate(input_tokens=input_tokens, output_tokens=0, is_bounded=True)
    try:
        bounds = _BOUNDS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        bounds = _Bounds()
    bound = bounds.max_completion_tokens
    if bound is None:
        bound = bounds.max_tokens if bounds.max_output_tokens is None else bounds.max_output_tokens
    choices = max(bounds.n or 1, 1)
    return Estimate(
        input_tokens=input_tokens,
        output_tokens=min(max(DEFAULT_OUTPUT_TOKENS if bound is None else bound, 0) * choices, MOST_TOKENS),
        is_bounded=bound is not None,
    )


@lru_cache(maxsize=256)
def _is_textless(endpoint: str) -> bool:
    return any(part in endpoint for part in _TEXTLESS_OUTPUT)


def _decoded(body: bytes) -> _Answer:
    if not body.isascii():
        body.decode()  # the decoder does not look into the text of members that it skips
    try:
        return _ANSWER.decode(body)
    except msgspec.ValidationError:  # JSON of another shape
        _SYNTAX.decode(body)
        return _Answer()


def _metering(answer: _Answer, counts: _Counts) -> Metering:
    entered = counts.prompt_tokens_details or counts.input_tokens_details or _NO_DETAILS
    left = counts.completion_tokens_details or counts.output_tokens_details or _NO_DETAILS
    input_tokens = counts.input_tokens if counts.prompt_tokens is None else counts.prompt_tokens
    output_tokens = counts.output_tokens if counts.completion_tokens is None else counts.completion_tokens
    if input_tokens is None and output_tokens is None:
        return Metering(model=answer.model, service_tier=answer.service_tier)
    read, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    hour = counts.cache_creation.ephemeral_1h_input_tokens if counts.cache_creation else 0
    return Metering(
        usage=Usage(
            # Anthropic's input_tokens leave out what went through its cache; OpenAI's count everything.
            input_tokens=(input_tokens or 0) + read + written,
            cached_tokens=(entered.cached_tokens or 0) or read,
            output_tokens=output_tokens or 0,
            reasoning_tokens=left.reasoning_tokens or 0,
        ),
        cache_write_tokens=written,
        cache_write_hour_tokens=hour or 0,
        other_tokens=0 if entered is left else _other_tokens(entered) + _other_tokens(left),  # neither was told
        service_tier=answer.service_tier,
        model=answer.model,
    )


def _other_tokens(details: _Details) -> int:
    return (details.audio_tokens or 0) + (details.image_tokens or 0)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
