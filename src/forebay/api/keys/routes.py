"""``/v1/keys``: API keys made, listed and revoked. The key itself is in one reply, the one that made it."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.jobs.listing import read_limit, split
from forebay.api.jobs.requests import NO_NUL, Time
from forebay.api.keys.records import KeyOrder, create_key, list_keys, read_key, revoke_key
from forebay.api.paging import Page, page_of, read_cursor
from forebay.api.times import read_time
from forebay.domain.errors import Forbidden, RequestError
from forebay.domain.key import LONGEST_NAME, TENANT, ApiKey, Scope, check_tenant

LONGEST_REQUEST_BYTES = 16 * 1024
DEFAULT_SCOPES = (Scope.SUBMIT, Scope.READ)
FILTERS = ("tenant", "limit", "after")
SECRET = {"cache-control": "no-store"}


class KeyStatus(StrEnum):
    """Whether a call may be made with it."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What ``POST /v1/keys`` takes; null is as good as absent."""

    name: Annotated[str, Meta(max_length=LONGEST_NAME, pattern=NO_NUL, description="To know it by")] | None = None
    tenant: Annotated[str, Meta(pattern=f"^{TENANT.pattern}$", description="Default: the caller's own")] | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=9, description="Default: submit and read")] | None = (
        None
    )
    expires_at: Time | None = None


class KeyView(msgspec.Struct, kw_only=True):
    """A key as it may be shown: ``prefix`` is its beginning."""

    id: str
    object: str = "api_key"
    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    prefix: str
    status: KeyStatus
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


class NewKeyView(KeyView, kw_only=True):
    """A new key, and the key itself."""

    key: str


class KeyList(Page[KeyView], kw_only=True):
    """A page of keys, newest first."""


_REQUEST = msgspec.json.Decoder(KeyRequest)
_FIELDS = tuple(field.name for field in msgspec.structs.fields(KeyRequest))


async def create(request: Request) -> Response:
    """POST /v1/keys."""
    api, caller = api_of(request), caller_of(request)
    data = await read_body(request, LONGEST_REQUEST_BYTES)
    services = api.services
    now = services.clock.now()
    order = key_order(data, now, own_tenant=caller.tenant)
    if order.tenant != caller.tenant and not caller.is_operator:
        raise Forbidden(f"Only keys of the tenant 'default' make keys of other tenants, such as {order.tenant!r}")
    key, text = await create_key(order, services.records, services.ids, now)
    api.keys.forget()
    return _reply(new_key_view(key, text, now), SECRET)


async def listed(request: Request) -> Response:
    """GET /v1/keys: the caller's tenant's; for callers of the tenant `default` those of all, or of ``?tenant=``."""
    api, caller = api_of(request), caller_of(request)
    values, metadata = split(request.query_params, FILTERS)
    if metadata:
        raise RequestError("metadata: keys have none", param="metadata")
    tenant = _visible(caller)
    if "tenant" in values:
        named = check_tenant(values["tenant"])
        if tenant not in {None, named}:
            raise Forbidden("Only keys of the tenant 'default' see keys of other tenants")
        tenant = named
    limit = read_limit(values.get("limit"))
    after = read_cursor(values.get("after"), "key_")
    keys = await list_keys(tenant, api.services.records, after=after, limit=limit + 1)
    return _reply(key_list(keys, limit, api.services.clock.now()))


async def read(request: Request) -> Response:
    """GET /v1/keys/{id}."""
    api, caller = api_of(request), caller_of(request)
    key = await read_key(request.path_params["id"], _visible(caller), api.services.records)
    return _reply(key_view(key, api.services.clock.now()))


async def revoke(request: Request) -> Response:
    """DELETE /v1/keys/{id}: ends it for good, here at once and in other processes within seconds; idempotent."""
    api, caller = api_of(request), caller_of(request)
    now = api.services.clock.now()
    key = await revoke_key(request.path_params["id"], _visible(caller), api.services.records, now)
    api.keys.forget()
    return _reply(key_view(key, now))


def key_order(data: bytes, now: float, *, own_tenant: str) -> KeyOrder:
    """Reads what is to be made. Raises: RequestError."""
    asked = decode(_REQUEST, data, known=_FIELDS)
    expires_at = None if asked.expires_at is None else read_time(asked.expires_at, start=now, param="expires_at")
    if expires_at is not None and expires_at <= now:
        raise RequestError("expires_at: it must lie ahead", param="expires_at")
    return KeyOrder(
        tenant=own_tenant if asked.tenant is None else check_tenant(asked.tenant),
        scopes=tuple(asked.scopes or DEFAULT_SCOPES),
        name=asked.name or "",
        expires_at=expires_at,
    )


def key_view(key: ApiKey, now: float) -> KeyView:
    """The key without its hash."""
    if key.revoked_at is not None:
        status = KeyStatus.REVOKED
    else:
        status = KeyStatus.ACTIVE if key.is_valid(now) else KeyStatus.EXPIRED
    return KeyView(
        id=key.id,
        name=key.name,
        tenant=key.tenant,
        scopes=key.scopes,
        prefix=key.prefix,
        status=status,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def new_key_view(key: ApiKey, text: str, now: float) -> NewKeyView:
    """The one view that has the key itself."""
    return NewKeyView(key=text, **msgspec.structs.asdict(key_view(key, now)))


def key_list(keys: list[ApiKey], limit: int, now: float) -> KeyList:
    """A page; ``keys`` has one more than it where there are more."""
    return page_of(KeyList, [key_view(key, now) for key in keys[:limit]], has_more=len(keys) > limit)


def _visible(caller: Caller) -> str | None:
    """Whose keys the caller sees; None: all."""
    return None if caller.is_operator else caller.tenant


def _reply(view: KeyView | KeyList, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(view), headers=headers, media_type=JSON)


ROUTES = [
    Route("/v1/keys", create, methods=["POST"]),
    Route("/v1/keys", listed, methods=["GET"]),
    Route("/v1/keys/{id}", read, methods=["GET"]),
    Route("/v1/keys/{id}", revoke, methods=["DELETE"]),
]
