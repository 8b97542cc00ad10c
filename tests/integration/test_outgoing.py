"""The guard of outgoing requests, and a delivery's one try, against servers and name servers that mean no good."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import anthropic
import openai
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from forebay.domain.errors import RequestError, TargetFailed, TargetTimeout, TargetUnavailable
from forebay.domain.webhook import Delivery
from forebay.notifiers.webhooks import MOST_ANSWER_BYTES, WebhookNotifier
from forebay.outgoing import Guard

from .raw_servers import Behaviour, answering, end_of, raw_server, request_of

LOOPBACK = (ip_network("127.0.0.0/8"),)
EVENT = {"id": "evt_1", "object": "event", "created_at": 1, "type": "batch.completed", "data": {"id": "batch_1"}}
SECRET = b"thirty-two bytes of a secret key"
SHOWN = "whsec_" + base64.b64encode(SECRET).decode()
OLD = b"thirty-two bytes that were used."
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
Found = Sequence[tuple[socket.AddressFamily, str]]


class Names:
    """A name server: each question takes the next answer, the last one again and again."""

    def __init__(self, *answers: Found) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Found:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def v4(*addresses: str) -> Found:
    return [(socket.AF_INET, address) for address in addresses]


def delivery(url: str, *secrets: bytes) -> Delivery:
    return Delivery(url=url, event_id="evt_1", body=json.dumps(EVENT).encode(), secrets=secrets or (SECRET,))


@asynccontextmanager
async def notifier(guard: Guard | None = None, seconds: float = 30.0) -> AsyncIterator[WebhookNotifier]:
    made = WebhookNotifier(guard or Guard(LOOPBACK), seconds=seconds)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def listening(requests: list[bytes]) -> AsyncIterator[int]:
    """A receiver that takes everything."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await request_of(reader))
        writer.write(NO_CONTENT)

    async with raw_server(behave) as port:
        yield port


def parts_of(request: bytes) -> tuple[dict[str, str], str]:
    """The headers by their lower-case names, and the body."""
    head, _, body = request.decode().partition("\r\n\r\n")
    pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
    return {name.lower(): value for name, value in pairs}, body


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x", "http://localhost/x", "http://[::1]/x", "http://169.254.169.254/latest/meta-data",
        "http://127.1/x", "http://2130706433/x", "http://0x7f000001/x", "http://[::ffff:127.0.0.1]/", "http://0/",
    ],
)  # fmt: skip
async def test_an_address_of_this_machine_is_refused_as_it_is_registered(url: str) -> None:
    with pytest.raises(RequestError) as refused:
        await Guard().check(url)
    assert refused.value.code == "webhook_url_refused"


async def test_a_name_is_refused_if_any_of_its_addresses_is_private() -> None:
    for names in (v4("10.0.0.1"), v4("93.184.216.34", "127.0.0.1"), [(socket.AF_INET6, "fe80::1%eth0")]):
        with pytest.raises(RequestError, match="private or reserved"):
            await Guard(lookup=Names(names)).check("https://hook.example/x")
    await Guard(lookup=Names(v4("93.184.216.34"))).check("https://hook.example/x")
    await Guard([ip_network("10.0.0.0/8")], Names(v4("10.0.0.1"))).check("https://hook.example/x")


async def test_a_name_without_an_address_is_refused() -> None:
    async def nobody(_host: str, _port: int) -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for lookup in (nobody, Names([])):
        with pytest.raises(RequestError, match="no address"):
            await Guard(lookup=lookup).check("https://hook.example/x")


async def test_an_answer_that_changes_after_the_registration_opens_nothing() -> None:
    requests: list[bytes] = []
    async with listening(requests) as port:
        names = Names(v4("93.184.216.34"), v4("127.0.0.1"))
        guard = Guard(lookup=names)
        url = f"http://hook.example:{port}/x"
        await guard.check(url)
        async with notifier(guard) as sender:
            with pytest.raises(TargetUnavailable, match="private or reserved"):
                await sender.send(delivery(url))
        assert (names.asked, requests) == (2, [])


async def test_the_connection_goes_to_the_address_that_was_judged_and_the_name_is_asked_once() -> None:
    requests: list[bytes] = []
    async with listening(requests) as port:
        names = Names(v4("127.0.0.1"), v4("169.254.169.254"))
        async with notifier(Guard(LOOPBACK, names)) as sender:
            assert (await sender.send(delivery(f"http://hook.example:{port}/x"))).status_code == 204
        assert names.asked == 1
        assert parts_of(requests[0])[0]["host"] == f"hook.example:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"])
async def test_an_address_in_place_of_a_name_is_judged_as_the_connection_is_made(host: str) -> None:
    requests: list[bytes] = []
    async with listening(requests) as port, notifier(Guard()) as sender:
        with pytest.raises((TargetUnavailable, TargetFailed)):
            await sender.send(delivery(f"http://{host}:{port}/x"))
        assert requests == []


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    direct: list[bytes] = []
    proxied: list[bytes] = []
    async with listening(direct) as port, listening(proxied) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        async with notifier() as sender:
            await sender.send(delivery(f"http://127.0.0.1:{port}/x"))
        assert (len(direct), proxied) == (1, [])


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    requests: list[bytes] = []
    async with listening(requests) as port:
        redirect = f"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{port}/x\r\ncontent-length: 0\r\n\r\n".encode()
        async with raw_server(answering(redirect)) as first, notifier() as sender:
            assert (await sender.send(delivery(f"http://127.0.0.1:{first}/x"))).status_code == 307
    assert requests == []


async def test_a_long_answer_is_broken_off() -> None:
    broken_off = asyncio.Event()

    async def without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * MOST_ANSWER_BYTES)
                await writer.drain()
        except ConnectionError:
            broken_off.set()

    async with raw_server(without_end) as port, notifier() as sender:
        assert (await sender.send(delivery(f"http://127.0.0.1:{port}/x"))).status_code == 200
        await asyncio.wait_for(broken_off.wait(), 30)


async def test_a_small_answer_that_unpacks_to_a_large_one_is_not_unpacked() -> None:
    packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot gzip."
    async with raw_server(answering(packed)) as port, notifier() as sender:
        assert (await sender.send(delivery(f"http://127.0.0.1:{port}/x"))).status_code == 200


async def test_a_receiver_that_hangs_is_left() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await end_of(reader)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        await end_of(reader)

    for behave in (hang, drip):
        async with raw_server(behave) as port, notifier(seconds=1.0) as sender:
            with pytest.raises((TargetTimeout, TargetUnavailable), match="in time"):
                await sender.send(delivery(f"http://127.0.0.1:{port}/x"))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"garbage\r\n\r\n"])
async def test_a_receiver_that_closes_or_garbles_has_not_taken_it(answer: bytes) -> None:
    behave: Behaviour = answering(answer)
    async with raw_server(behave) as port, notifier() as sender:
        with pytest.raises(TargetFailed, match="broke"):
            await sender.send(delivery(f"http://127.0.0.1:{port}/x"))


async def test_a_receiver_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with notifier() as sender:
            with pytest.raises(TargetUnavailable, match="No connection"):
                await sender.send(delivery(f"http://127.0.0.1:{port}/x"))


async def test_the_wait_that_a_receiver_asks_for_is_told() -> None:
    busy = b"HTTP/1.1 429 Later\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"
    async with raw_server(answering(busy)) as port, notifier() as sender:
        reply = await sender.send(delivery(f"http://127.0.0.1:{port}/x"))
    assert (reply.status_code, reply.retry_after) == (429, 120)


async def _sent(*secrets: bytes) -> tuple[dict[str, str], str]:
    requests: list[bytes] = []
    async with listening(requests) as port, notifier() as sender:
        await sender.send(delivery(f"http://127.0.0.1:{port}/x", *secrets))
    return parts_of(requests[0])


async def test_every_public_verifier_takes_the_signature() -> None:
    headers, body = await _sent()
    assert headers["webhook-id"] == "evt_1"
    assert Webhook(SHOWN).verify(body, headers) == EVENT
    event: Any = openai.OpenAI(api_key="any").webhooks.unwrap(body, headers, secret=SHOWN)
    assert (event.type, event.data.id) == ("batch.completed", "batch_1")
    claude: Any = anthropic.Anthropic(api_key="any").beta.webhooks.unwrap(body, headers=headers, key=SHOWN)
    assert claude.id == "evt_1"


async def test_a_changed_body_or_another_secret_is_not_taken() -> None:
    headers, body = await _sent()
    with pytest.raises(WebhookVerificationError):
        Webhook(SHOWN).verify(body.replace("batch_1", "batch_2"), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        openai.OpenAI(api_key="any").webhooks.unwrap(body, headers, secret="whsec_" + "A" * 43 + "=")


async def test_while_a_secret_is_rotated_both_verify() -> None:
    headers, body = await _sent(SECRET, OLD)
    for secret in (SECRET, OLD):
        shown = "whsec_" + base64.b64encode(secret).decode()
        assert Webhook(shown).verify(body, headers) == EVENT
        assert openai.OpenAI(api_key="any").webhooks.unwrap(body, headers, secret=shown)


def test_no_secret_and_no_address_shows_in_a_delivery() -> None:
    assert "https" not in repr(delivery("https://hook.example/token"))
    assert "secret" not in repr(delivery("https://hook.example/token"))
