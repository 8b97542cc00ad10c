"""``/v1/webhook_secret``: what deliveries to addresses that a tenant's jobs name themselves are signed with."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.webhooks.endpoints import RotateRequest
from forebay.api.webhooks.views import TenantSecret
from forebay.engine.webhook_secrets import KEPT_SECONDS, rotate_tenant_secret, shown_secret, tenant_secrets

_ROTATE = msgspec.json.Decoder(RotateRequest)


async def read(request: Request) -> Response:
    """GET /v1/webhook_secret: for an administrator's key alone."""
    services, tenant = api_of(request).services, caller_of(request).tenant
    secret, *_ = await tenant_secrets(tenant, services.records, services.secrets, services.clock.now())
    return _response(tenant, secret)


async def rotate(request: Request) -> Response:
    """POST /v1/webhook_secret/rotate."""
    api, tenant = api_of(request), caller_of(request).tenant
    body = await read_body(request, api.system.settings.max_body_bytes)
    asked = decode(_ROTATE, body) if body.strip() else RotateRequest()
    keep_seconds = KEPT_SECONDS if asked.keep_old_secret_active_for_24_hours else 0.0
    services = api.services
    secret = await rotate_tenant_secret(
        tenant, services.records, services.secrets, services.clock.now(), keep_seconds=keep_seconds
    )
    return _response(tenant, secret)


def _response(tenant: str, secret: bytes) -> Response:
    shown = TenantSecret(tenant=tenant, signing_secret=shown_secret(secret))
    return Response(msgspec.json.encode(shown), media_type=JSON)


ROUTES = [
    Route("/v1/webhook_secret", read, methods=["GET"]),
    Route("/v1/webhook_secret/rotate", rotate, methods=["POST"]),
]
