"""The public client: thin over HTTP, the same for both colours of code."""

from forebay.client.asynchronous import AsyncClient
from forebay.client.synchronous import Client

__all__ = ["AsyncClient", "Client"]
