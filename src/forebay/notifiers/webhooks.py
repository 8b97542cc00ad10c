"""Standard Webhooks: signs an event and posts it, through the guard of outgoing requests. One try; retries are jobs."""

import time
from datetime import UTC, datetime

import aiohttp
from standardwebhooks.webhooks import Webhook
from yarl import URL

from forebay.domain.errors import TargetFailed, TargetTimeout, TargetUnavailable
from forebay.domain.webhook import Delivered, Delivery
from forebay.outgoing import AddressRefused, Guard
from forebay.policy.rate_headers import retry_after_seconds

SECONDS = 15.0  # for the whole exchange. Source: standardwebhooks.com asks for 15 to 30
CONNECT_SECONDS = 10.0
MOST_ANSWER_BYTES = 64 * 1024  # read so that the connection can be kept; what is longer is broken off
SKIPPED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class WebhookNotifier:
    """One session for all endpoints of a process; opened by its first delivery in the running loop."""

    def __init__(self, guard: Guard, *, seconds: float = SECONDS) -> None:
        self._guard = guard
        self._limit = aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, seconds * 0.9))
        self._session: aiohttp.ClientSession | None = None

    async def check(self, url: str, param: str) -> None:
        await self._guard.check(url, param)

    async def send(self, delivery: Delivery) -> Delivered:
        session = self._session or self._open()
        host = URL(delivery.url).host or ""
        try:
            async with session.post(
                URL(delivery.url),
                data=delivery.body,
                headers=signed_headers(delivery, time.time()),
                timeout=self._limit,
                allow_redirects=False,  # the place that one names was not judged
            ) as response:
                await _read_some(response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Delivered(status_code=response.status, retry_after=retry_after_seconds(headers, time.time()))
        except aiohttp.ConnectionTimeoutError as exc:
            raise TargetUnavailable(f"No connection to {host!r} in time") from exc
        except aiohttp.ClientConnectorError as exc:
            raise TargetUnavailable(_not_connected(exc, host)) from exc
        except TimeoutError as exc:
            raise TargetTimeout(f"No whole answer from {host!r} in time") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise TargetFailed(f"The connection to {host!r} broke: {type(exc).__name__}") from exc

    async def close(self) -> None:
        self._guard.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=self._guard.connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=SKIPPED_HEADERS,
            auto_decompress=False,  # a small answer may unpack to a very large one
            trust_env=False,
        )
        return self._session


def signed_headers(delivery: Delivery, now: float) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is valid."""
    second = datetime.fromtimestamp(int(now), UTC)
    text = delivery.body.decode()
    signatures = [Webhook(secret).sign(delivery.event_id, second, text) for secret in delivery.secrets]
    return {
        "content-type": "application/json",
        "user-agent": "forebay",
        "accept": "*/*",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(signatures),
    }


async def _read_some(response: aiohttp.ClientResponse) -> None:
    """Reads a short answer to its end; the rest of a long one is nobody's."""
    total = 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > MOST_ANSWER_BYTES:
            response.close()
            return


def _not_connected(exc: aiohttp.ClientConnectorError, host: str) -> str:
    if isinstance(exc.os_error, AddressRefused):
        return str(exc.os_error)
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return f"The name {host!r} can't be resolved"
    if isinstance(exc, aiohttp.ClientConnectorSSLError):
        return f"The TLS connection to {host!r} failed"
    return f"No connection to {host!r}: {exc.os_error.strerror or type(exc.os_error).__name__}"
