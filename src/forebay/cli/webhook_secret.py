"""`forebay keys webhook-secret`: what webhooks that jobs name themselves are signed with; shown, or rotated."""

import asyncio
from typing import Annotated

import msgspec
import typer

from forebay.api.webhooks.views import TenantSecret
from forebay.app import SystemClock, open_storage
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import fetch, print_json
from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.key import DEFAULT_TENANT
from forebay.engine.webhook_secrets import KEPT_SECONDS, rotate_tenant_secret, shown_secret, tenant_secrets
from forebay.secrets import Secrets, secret_path

PATH = "/v1/webhook_secret"


def register(keys: typer.Typer) -> None:
    """Adds the command to its group."""
    keys.command("webhook-secret", epilog="Example: forebay keys webhook-secret --rotate --keep-old")(webhook_secret)


def webhook_secret(
    context: typer.Context,
    tenant: Annotated[
        str | None, typer.Option(help="Whose it is.", show_default=f"{DEFAULT_TENANT}, or the presented key's")
    ] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one valid first.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Sign with the old one too, for 24 hours.")] = False,
) -> None:
    """Print the secret that receivers verify webhooks with which jobs name themselves (`notify.webhook`)."""
    if keep_old and not rotate:
        raise typer.BadParameter("--keep-old goes with --rotate")
    options = options_of(context)
    if options.is_remote:
        answer = _asked(options, tenant, rotate=rotate, keep_old=keep_old)
    else:
        answer = _on_store(options, tenant or DEFAULT_TENANT, rotate=rotate, keep_old=keep_old)
    if options.as_json:
        print_json(answer)
    else:
        typer.echo(msgspec.json.decode(answer, type=TenantSecret).signing_secret)


def _asked(options: GlobalOptions, tenant: str | None, *, rotate: bool, keep_old: bool) -> bytes:
    if tenant is not None:
        raise typer.BadParameter("--tenant names a tenant of the store; a server takes the presented key's")
    if not rotate:
        return fetch(options, "GET", PATH)
    return fetch(options, "POST", f"{PATH}/rotate", body={"keep_old_secret_active_for_24_hours": keep_old})


def _on_store(options: GlobalOptions, tenant: str, *, rotate: bool, keep_old: bool) -> bytes:
    set_up_logging("debug" if options.debug else "error")
    settings = options.settings()
    secrets = Secrets(settings.secret_key, secret_path(settings.store.path) if settings.store.path else None)

    async def opened() -> bytes:
        async with open_storage(settings) as storage:
            records, now = storage.store.records, SystemClock().now()
            if rotate:
                keep_seconds = KEPT_SECONDS if keep_old else 0.0
                return await rotate_tenant_secret(tenant, records, secrets, now, keep_seconds=keep_seconds)
            secret, *_ = await tenant_secrets(tenant, records, secrets, now)
            return secret

    try:
        secret = asyncio.run(opened())
    except RequestError as refused:  # no secret key: of the configuration's making, not of a request's
        raise ConfigurationError(refused.message) from refused
    return msgspec.json.encode(TenantSecret(tenant=tenant, signing_secret=shown_secret(secret)))
