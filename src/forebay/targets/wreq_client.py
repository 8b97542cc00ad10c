"""HttpClient on wreq (Rust): its sockets and parsing are a thread's of its own, and not the event loop's.

It never sends a request again by itself but over another connection if the first byte was not written: held by tests.
Connections are kept for a shorter time than servers keep them.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import wreq

from forebay.domain.errors import TargetFailed, TargetRejected, TargetUnavailable
from forebay.targets.http import (
    KEEPALIVE_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_FILE_BYTES,
    Body,
    Response,
    StreamResponse,
    Upload,
)
from forebay.targets.proxies import proxy_of
from forebay.targets.trust import trusted_certificates
from forebay.targets.wreq_failures import BROKEN, UNSENDABLE, told

#: Time limits of a connection: DNS, TCP and TLS together. wreq has one per client, so there is a client for each that
#: is in use, and a call takes the longest that ends before its own limit: a host that is not there is not a time-out.
CONNECT_SECONDS = (0.1, 0.5, 2.0, 5.0, 15.0)
CONNECT_SHARE = 0.9  # of a call's time limit
DNS_THREADS = 32
MOST_WAYS = 1024
_THREAD_NAME = "forebay-http"
_Way = tuple[wreq.Client, timedelta]  # and the time limit of a call
_Key = tuple[bool, str | None, float]  # is it TLS, by which proxy, within how many seconds


class WreqClient:
    """Clients for all targets of a process on one thread. Made anywhere; a client is opened by its first call."""

    def __init__(self, *, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._max_answer_bytes = max_answer_bytes
        # At once, not at the first call: made when no descriptor is left, it takes the whole process down with it.
        self._runtime: wreq.Runtime | None = _make_runtime()
        self._clients: dict[_Key, wreq.Client] = {}
        self._ways: dict[tuple[str, float], _Way] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float) -> Response:
        client, limit = self._ways.get((url, timeout_seconds)) or self._way(url, timeout_seconds)
        if isinstance(body, Upload):
            headers, body = body.headed(headers), body.pieces()  # type: ignore[assignment]  # sent below, and no more
        try:
            answer = await client.post(url, headers=headers, body=body, timeout=limit)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds) from exc
        return await self._read(answer, url, timeout_seconds)

    async def get(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response:
        client, limit = self._way(url, timeout_seconds)
        try:
            answer = await client.get(url, headers=headers, timeout=limit)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds) from exc
        return await self._read(answer, url, timeout_seconds)

    async def delete(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response:
        client, limit = self._way(url, timeout_seconds)
        try:
            answer = await client.delete(url, headers=headers, timeout=limit)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds) from exc
        return await self._read(answer, url, timeout_seconds)

    @asynccontextmanager
    async def fetch(
        self, url: str, headers: Mapping[str, str], timeout_seconds: float
    ) -> AsyncIterator[StreamResponse]:
        client, limit = self._way(url, timeout_seconds)
        try:
            answer = await client.get(url, headers=headers, timeout=limit)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds) from exc
        async with answer.stream() as streamer:
            yield StreamResponse(
                status=answer.status.as_int(),
                headers=_headers_of(answer),
                chunks=self._chunks(streamer, answer, url, timeout_seconds, MAX_FILE_BYTES),
            )

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float
    ) -> AsyncIterator[StreamResponse]:
        client, limit = self._way(url, timeout_seconds)
        if isinstance(body, Upload):
            headers, body = body.headed(headers), body.pieces()  # type: ignore[assignment]  # likewise
        try:
            answer = await client.post(url, headers=headers, body=body, timeout=limit)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds) from exc
        async with answer.stream() as streamer:  # leaving closes the connection of a body that was not read to its end
            yield StreamResponse(
                status=answer.status.as_int(),
                headers=_headers_of(answer),
                chunks=self._chunks(streamer, answer, url, timeout_seconds),
            )

    async def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._ways.clear()
        self._runtime = None

    async def _read(self, answer: wreq.Response, url: str, timeout_seconds: float) -> Response:
        """Reads an answer whole, or in pieces where it does not say how long it is: only they can be counted."""
        status = answer.status.as_int()
        length = answer.content_length
        try:
            if length is not None and length <= self._max_answer_bytes:
                body = bytes(await answer.bytes())
            else:
                async with answer.stream() as streamer:
                    body = b"".join([piece async for piece in self._chunks(streamer, answer, url, timeout_seconds)])
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds, status) from exc
        return Response(status=status, headers=_headers_of(answer), body=body)

    async def _chunks(
        self,
        streamer: wreq.Streamer,
        answer: wreq.Response,
        url: str,
        timeout_seconds: float,
        most_bytes: int | None = None,
    ) -> AsyncIterator[bytes]:
        total, most_bytes = 0, most_bytes or self._max_answer_bytes
        status = answer.status.as_int()
        try:
            async for piece in streamer:
                if isinstance(piece, wreq.HeaderMap):  # trailers
                    continue
                total += len(piece)
                if total > most_bytes:
                    message = f"the answer is longer than {most_bytes} bytes"
                    raise TargetFailed(message, status_code=status)
                yield bytes(piece)
        except BROKEN as exc:
            raise told(exc, url, timeout_seconds, status) from exc

    def _way(self, url: str, timeout_seconds: float) -> _Way:
        """Returns the client for an address and a time limit. Raises: TargetRejected, TargetUnavailable."""
        step = bisect_right(CONNECT_SECONDS, timeout_seconds * CONNECT_SHARE)
        try:
            key = (url.startswith("https:"), proxy_of(url), CONNECT_SECONDS[max(step - 1, 0)])
            client = self._clients.get(key) or self._open(*key)
        except UNSENDABLE as exc:
            raise TargetRejected("the address of the target, or of its proxy, is not a URL") from exc
        except OSError as exc:
            raise TargetUnavailable(f"the certificates to trust can't be read: {exc}") from exc
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()  # places to poll have an address per job
        way = self._ways[url, timeout_seconds] = (client, timedelta(seconds=timeout_seconds))
        return way

    def _open(self, is_tls: bool, proxy: str | None, connect_seconds: float) -> wreq.Client:
        if self._runtime is None:
            self._runtime = _make_runtime()
        certificates = trusted_certificates() if is_tls else None
        client = wreq.Client(
            runtime=self._runtime,
            connect_timeout=timedelta(seconds=connect_seconds),
            pool_idle_timeout=timedelta(seconds=KEEPALIVE_SECONDS),
            http1_only=True,  # one request a connection: what was sent is known, and no server caps a shared one
            redirect=wreq.redirect.Policy.none(),
            referer=False,
            proxies=[wreq.Proxy.all(proxy)] if proxy else [],
            no_proxy=proxy is None,
            dns_options=wreq.DnsOptions(system_dns=True),  # as every other program on the machine sees names
            tls_verify=wreq.CertStore.from_der_certs(certificates) if certificates is not None else True,
        )
        self._clients[is_tls, proxy, connect_seconds] = client
        return client


def _make_runtime() -> wreq.Runtime:
    return wreq.Runtime(workers=1, thread_name=_THREAD_NAME, max_blocking_threads=DNS_THREADS)


def _headers_of(answer: wreq.Response) -> dict[str, str]:
    return {str(name, "ascii"): str(value, "latin-1") for name, value in answer.headers}
