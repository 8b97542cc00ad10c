"""Intake: turns orders into jobs, and the content of bodies into rows or blobs. Every way in comes through here."""

from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace

from forebay.domain.content import INLINE_LIMIT_BYTES, Content
from forebay.domain.errors import RequestError
from forebay.domain.infer_args import InferArgs, infer_args, with_args
from forebay.domain.job import Job, Spec
from forebay.domain.lane import target_of
from forebay.domain.order import Order
from forebay.domain.tenant import spec_of
from forebay.engine.endpoints import notices_of
from forebay.engine.form_files import find_files
from forebay.engine.services import Bounds, Services
from forebay.policy.events import subject_of
from forebay.policy.form_fields import FILE_ENDPOINTS, FILE_TYPES, names_files
from forebay.policy.json_text import is_too_deep
from forebay.policy.resolution import Resolution
from forebay.policy.usage import estimate_request
from forebay.ports import BlobStore

INFER = "infer"
DEFAULT_TIMEOUT_SECONDS = 600.0


async def make_job(order: Order, services: Services, *, tenant: str = "default") -> Job:
    """Resolves the order's target and makes its job; a large body is durable as a blob when this returns.

    Raises: NotFound (`model_not_found`), RequestError (`endpoint_not_supported`, `webhook_url_refused`).
    """
    model = order.model or _model_of(order.body)
    resolution = services.resolver.resolve(target=order.target, model=model, endpoint=order.endpoint)
    args, blobs = await _files(order, resolution, services, tenant)
    if order.hops:
        args = with_args(args, InferArgs(hops=order.hops))
    now = services.clock.now()
    start = order.not_before or now
    deadline = order.deadline or start + services.bounds.default_deadline_seconds
    spec = Spec(
        target=order.target or target_of(resolution.queue),
        model=resolution.model,
        endpoint=resolution.endpoint,
        timeout_seconds=order.timeout_seconds or _timeout(services, resolution.candidates[0].target),
        max_attempts=order.max_attempts,
        on_unknown=order.on_unknown,
        budget_usd=order.budget_usd,
        stream=order.is_stream,
        keep_call=order.keep_call,
        data_class=order.data_class,
        metadata=order.metadata,
        args=args,
    )
    body = await store_text(order.body, services.blobs)
    job = Job(
        id=services.ids.new("job"),
        kind=INFER,
        queue=resolution.queue,
        tenant=tenant,
        parent_id=order.parent_id,
        key=order.key,
        fingerprint=order.fingerprint,
        origin=order.origin,
        awaited=order.awaited,
        priority=order.priority,
        tokens=estimate_request(order.body.encode(), resolution.endpoint).total_tokens,
        weight=spec_of(tenant, services.tenants).weight,
        created_at=now,
        not_before=order.not_before,
        due_at=start,
        deadline=deadline,
        spec=spec,
        body=body,
        blobs=blobs,
    )
    notices = await notices_of(order, subject_of(job), services, tenant)
    return replace(job, on_end=notices) if notices else job


async def store_text(text: str, blobs: BlobStore) -> Content:
    """Keeps small text as it is and writes large text as a blob, durable before the commit that will name it."""
    if len(text) <= INLINE_LIMIT_BYTES // 4:
        return Content(text=text)
    data = text.encode()
    if len(data) <= INLINE_LIMIT_BYTES:
        return Content(text=text)
    return await store_bytes(data, blobs)


async def store_bytes(data: bytes, blobs: BlobStore) -> Content:
    """Writes the bytes as a blob."""
    info = await blobs.write(_once(data))
    return Content(blob_id=info.id, bytes=info.bytes)


async def load_text(content: Content, blobs: BlobStore) -> str:
    """Reads a body, wherever it stands. Raises: NotFound: its blob is gone (erased)."""
    if content.text is not None:
        return content.text
    return b"".join([chunk async for chunk in blobs.read(content.blob_id or "")]).decode()


async def _files(
    order: Order, resolution: Resolution, services: Services, tenant: str
) -> tuple[str | None, tuple[str, ...]]:
    """The job's arguments with the files that its body names, and their blobs. Raises: RequestError."""
    if not names_files(order.body):
        return order.args, ()
    is_form = resolution.endpoint in FILE_ENDPOINTS or infer_args(order.args).is_form
    if not is_form and not all(services.specs[one.target].type in FILE_TYPES for one in resolution.candidates):
        return order.args, ()
    files = await find_files(order.body, services, tenant)
    return with_args(order.args, InferArgs(files=files)), tuple({file.blob_id: None for file in files.values()})


def check_order(order: Order, bounds: Bounds) -> None:
    """Raises: RequestError: it is larger than the settings allow."""
    if len(order.metadata) > bounds.max_metadata_pairs:
        message = f"metadata: at most {bounds.max_metadata_pairs} pairs, not {len(order.metadata)}"
        raise RequestError(f"{message} (setting `max_metadata_pairs`)", param="metadata")
    if is_too_deep(order.body.encode(), bounds.max_json_depth):
        message = f"The body is nested deeper than {bounds.max_json_depth} (setting `max_json_depth`)"
        raise RequestError(message, param="body", code="invalid_json")


class _Named(msgspec.Struct):
    model: str | None = None


def _model_of(body: str) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Named).model
    except msgspec.ValidationError:  # not an object, or a model that is no string: the target will say what it thinks
        return None


def _timeout(services: Services, target: str) -> float:
    return services.specs[target].timeout_seconds or DEFAULT_TIMEOUT_SECONDS


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
