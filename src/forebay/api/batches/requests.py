"""The body of ``POST /v1/batches`` and the BatchOrder that it becomes. Unknown fields are ignored, as OpenAI's are."""

import re
from typing import Any

import msgspec

from forebay.api.bodies import decode
from forebay.api.context import Api, Caller
from forebay.api.files.routes import expiry_seconds
from forebay.api.idempotency import Identity
from forebay.api.jobs.requests import Name, check_metadata
from forebay.domain.batch import BatchArgs
from forebay.domain.errors import RequestError
from forebay.domain.file import BATCH_INPUT, FILE, file_data
from forebay.engine.handlers.batch import BatchOrder

ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)
BUDGET = "forebay_budget_usd"  # in the metadata: a hard budget
LONGEST_WINDOW_SECONDS = 30 * 86_400.0
_WINDOW = re.compile(r"([1-9]\d{0,6})([mhd])")
_SECONDS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}


class BatchRequest(msgspec.Struct, kw_only=True):
    """What ``POST /v1/batches`` takes."""

    input_file_id: Name
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: Any = None
    idempotency_key: str | None = None


_REQUEST = msgspec.json.Decoder(BatchRequest)


def parse_batch(data: bytes) -> BatchRequest:
    """Parses and bounds a request. Raises: RequestError."""
    request = decode(_REQUEST, data)
    if request.endpoint not in ENDPOINTS:
        raise RequestError(
            f"Invalid value: {request.endpoint!r}. Supported values are: {', '.join(map(repr, ENDPOINTS))}.",
            param="endpoint",
        )
    window_seconds(request.completion_window)
    check_metadata(request.metadata)
    budget_usd(request.metadata)
    return request


async def order_of(request: BatchRequest, identity: Identity, api: Api, caller: Caller, *, hops: int = 0) -> BatchOrder:
    """The order that a request makes. An input file that does not exist fails the batch, not the request."""
    record = await api.services.records.get(caller.tenant, FILE, request.input_file_id)
    data = file_data(record) if record is not None else None
    is_input = data is not None and data.purpose == BATCH_INPUT
    return BatchOrder(
        args=BatchArgs(
            input_file_id=request.input_file_id,
            input_blob_id=data.blob_id if data is not None and is_input else None,
            endpoint=request.endpoint,
            completion_window=request.completion_window,
            output_expires_after=_output_expiry(request.output_expires_after),
            hops=hops,
        ),
        lifespan_seconds=window_seconds(request.completion_window),
        budget_usd=budget_usd(request.metadata),
        metadata=request.metadata or {},
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
    )


def window_seconds(window: str) -> float:
    """``24h``, ``90m``, ``7d``. Raises: RequestError."""
    found = _WINDOW.fullmatch(window)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_WINDOW_SECONDS:
        message = f"Invalid value: {window!r}. Give minutes, hours or days up to 30 days: '90m', '24h', '7d'."
        raise RequestError(message, param="completion_window")
    return seconds


def budget_usd(metadata: dict[str, str] | None) -> float | None:
    """The hard budget that the metadata names. Raises: RequestError."""
    text = (metadata or {}).get(BUDGET)
    if text is None:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise RequestError(f"metadata.{BUDGET}: it must be an amount in USD, not {text!r}", param=f"metadata.{BUDGET}")
    return amount


def _output_expiry(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("anchor") != "created_at":
        raise RequestError("output_expires_after.anchor: it must be 'created_at'", param="output_expires_after.anchor")
    return float(expiry_seconds(value.get("seconds"), "output_expires_after.seconds"))
