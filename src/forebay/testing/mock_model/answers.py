"""The bodies of the mock model's answers on OpenAI's wire: deterministic, and shaped as the vendor's own."""

import base64
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from forebay.testing.mock_model.forms import heard
from forebay.testing.mock_model.request import Request, id_of, text_of, tokens_of
from forebay.testing.mock_model.schema import least_instance

CREATED_AT = 1_760_000_000  # a constant: equal requests have equal answers
EMBEDDING_DIMENSIONS = 8
MAX_CHOICES = 16
JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
PLAIN_FORMATS = ("text", "srt", "vtt")  # of transcriptions and translations
# A PNG of one transparent pixel.
TINY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

_encode = msgspec.json.encode


def answer_text(request: Request) -> str:
    """What the model says: an echo, or the least JSON of the schema asked for, cut at the bound that was named."""
    schema = request.schema
    text = f"echo: {request.last_text}"
    if schema is not None:
        return _encode(least_instance(schema, text)).decode()
    bound = request.limit_tokens
    return text if bound is None else text[: bound * 4]


def chat_completion(request: Request, body: bytes) -> bytes:
    answer = answer_text(request)
    text = _encode(answer)
    entered, left = tokens_of(body), tokens_of(answer)
    choices = b",".join(
        b'{"index":%d,"message":{"role":"assistant","content":%b,"refusal":null},"logprobs":null,"finish_reason":"stop"}'
        % (index, text)
        for index in range(_choice_count(request))
    )
    return (
        b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,"choices":[%b],"usage":'
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":"mock"}'
        % (id_of(body).encode(), CREATED_AT, _encode(request.model), choices, entered, left, entered + left)
    )


def completion(request: Request, body: bytes) -> bytes:
    text = answer_text(request)
    entered, left = tokens_of(body), tokens_of(text)
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
        for index in range(_choice_count(request))
    ]
    return _encode(
        {
            "id": f"cmpl-{id_of(body)}",
            "object": "text_completion",
            "created": CREATED_AT,
            "model": request.model,
            "choices": choices,
            "usage": {"prompt_tokens": entered, "completion_tokens": left, "total_tokens": entered + left},
        }
    )


def response_object(request: Request, body: bytes) -> dict[str, Any]:
    """The Response whole; its stream sends the same object at its end."""
    text = answer_text(request)
    entered, left = tokens_of(body), tokens_of(text)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_{id_of(body)}", "type": "message", "status": "completed", "role": "assistant"}
    return {
        "id": f"resp_{id_of(body)}",
        "object": "response",
        "created_at": CREATED_AT,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": request.model,
        "output": [{**item, "content": [part]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": entered,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": left,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": entered + left,
        },
    }


def response(request: Request, body: bytes) -> bytes:
    return _encode(response_object(request, body))


def embeddings(request: Request, body: bytes) -> bytes:
    given = request.input
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    vectors = [_vector(one, request.dimensions or EMBEDDING_DIMENSIONS) for one in inputs]
    if request.encoding_format == "base64":
        shown: list[Any] = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in vectors]
    else:
        shown = vectors
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(shown)]
    entered = tokens_of(body)
    usage = {"prompt_tokens": entered, "total_tokens": entered}
    return _encode({"object": "list", "data": data, "model": request.model, "usage": usage})


def moderation(request: Request, body: bytes) -> bytes:
    given = request.input
    inputs = given if isinstance(given, list) else [given]
    flags = ["violence" in text_of(one).lower() for one in inputs]
    results = [
        {
            "flagged": flag,
            "categories": {"violence": flag},
            "category_scores": {"violence": 0.9 if flag else 0.01},
            "category_applied_input_types": {"violence": ["text"]},
        }
        for flag in flags
    ]
    return _encode({"id": f"modr-{id_of(body)}", "model": request.model, "results": results})


def image(request: Request, body: bytes) -> bytes:
    if request.response_format == "url":
        shown = {"url": f"https://images.example/{id_of(body)}.png"}
    else:
        shown = {"b64_json": base64.b64encode(TINY_PNG).decode()}
    data = [{**shown, "revised_prompt": request.last_text} for _ in range(_choice_count(request))]
    entered = tokens_of(body)
    usage = {
        "input_tokens": entered,
        "input_tokens_details": {"text_tokens": entered, "image_tokens": 0},
        "output_tokens": 64,
        "total_tokens": entered + 64,
    }
    return _encode({"created": CREATED_AT, "data": data, "usage": usage})


def speech(_request: Request, body: bytes) -> bytes:
    """A WAV of silence, 10 ms per byte of the request up to a second."""
    samples = bytes(160 * min(len(body), 100))
    form = struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16)  # PCM, mono, 8 kHz, 16 bits
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def transcription(request: Request, body: bytes) -> bytes:
    if request.response_format in PLAIN_FORMATS:
        return f"{heard(body)}\n".encode()
    return _encode({"text": heard(body), "usage": {"type": "duration", "seconds": 1}})


def token_count(_: Request, body: bytes) -> bytes:
    return _encode({"input_tokens": tokens_of(body)})


def message_object(request: Request, body: bytes) -> dict[str, Any]:
    """Anthropic's message."""
    text = answer_text(request)
    return {
        "id": f"msg_{id_of(body)}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens_of(body),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens_of(text),
        },
    }


def message(request: Request, body: bytes) -> bytes:
    return _encode(message_object(request, body))


def model_list(models: tuple[str, ...]) -> bytes:
    """Lists models in a form that both vendors' clients read."""
    data = [
        {
            "id": name,
            "object": "model",
            "type": "model",
            "created": CREATED_AT,
            "created_at": "2025-10-09T08:53:20Z",
            "display_name": name,
            "owned_by": "forebay",
        }
        for name in models
    ]
    ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None}
    return _encode({"object": "list", "data": data, "has_more": False, **ends})


#: By path without ``/v1``: how the body of an answer is made, and its media type.
ENDPOINTS: dict[str, tuple[Callable[[Request, bytes], bytes], str]] = {
    "/chat/completions": (chat_completion, JSON),
    "/completions": (completion, JSON),
    "/responses": (response, JSON),
    "/embeddings": (embeddings, JSON),
    "/moderations": (moderation, JSON),
    "/images/generations": (image, JSON),
    "/images/edits": (image, JSON),
    "/images/variations": (image, JSON),
    "/audio/speech": (speech, "audio/wav"),
    "/audio/transcriptions": (transcription, JSON),
    "/audio/translations": (transcription, JSON),
    "/messages": (message, JSON),
    "/messages/count_tokens": (token_count, JSON),
}


def _choice_count(request: Request) -> int:
    return min(max(request.n or 1, 1), MAX_CHOICES)


def _vector(given: Any, dimensions: int) -> list[float]:
    """A vector that depends on the text alone, its members between -1 and 1."""
    text = _encode(given)
    return [zlib.crc32(text, index) / 2**31 - 1 for index in range(dimensions)]
