"""Where an A2A agent is: its card is read, and of the interfaces that it names the one is chosen that we speak.

The target's key goes to that interface alone, and never to another origin than the one that was configured.
"""

import asyncio
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

import msgspec

from forebay.domain.errors import TargetFailed, TargetRejected
from forebay.domain.record import Record
from forebay.domain.target import TargetSpec
from forebay.targets.a2a_wire import BINDING, CARD, CARD_PATH, HEADERS, VERSION, AgentCard, Interface
from forebay.targets.endpoint import checked_url
from forebay.targets.failures import check_status
from forebay.targets.http import HttpClient

CARD_SECONDS = 3_600.0  # after which a card is read again: an agent may move, or learn to push
CARD_TIMEOUT_SECONDS = 30.0
_MISSING = frozenset({404, 405, 410})
_JSON = ".json"
_LOOPBACK = "localhost"


class Agent(Record, frozen=True, kw_only=True):
    """An agent as its card describes it. ``base_url``: what paths are appended to."""

    base_url: str
    can_push: bool = False
    name: str = ""
    skills: tuple[str, ...] = ()


class AgentPlace:
    """Finds the agent of one target, and remembers it."""

    def __init__(self, spec: TargetSpec, http: HttpClient, headers: dict[str, str]) -> None:
        """Raises: ConfigurationError: an address is missing, or none."""
        self._spec = spec
        self._http = http
        self._url = checked_url(spec, spec.url or spec.base_url, "url")
        self._base_url = checked_url(spec, spec.base_url, "base_url") if spec.base_url else None
        # The key is the interface's: a card that stands elsewhere is read without it.
        is_near = self._base_url is None or _origin(self._base_url) == _origin(self._url)
        self._headers = headers if is_near else HEADERS
        self._known: Agent | None = None
        self._until = 0.0
        self._reading = asyncio.Lock()

    async def find(self) -> Agent:
        """Returns the agent, reading its card where it is not known. Raises: a TargetError."""
        loop = asyncio.get_running_loop()
        if self._known is not None and loop.time() < self._until:
            return self._known
        async with self._reading:
            if self._known is None or loop.time() >= self._until:
                self._known = await self._read()
                self._until = loop.time() + CARD_SECONDS
            return self._known

    def forget(self) -> None:
        """The agent was not where its card said: the next call reads it anew."""
        self._until = 0.0

    async def _read(self) -> Agent:
        if self._spec.url is None:
            return Agent(base_url=self._url)
        address = self._url if urlsplit(self._url).path.endswith(_JSON) else self._url + CARD_PATH
        response = await self._http.get(address, self._headers, CARD_TIMEOUT_SECONDS)
        if response.status in _MISSING and address != self._url:
            return Agent(base_url=self._base_url or self._url)  # an agent without a card: the address is its interface
        check_status(response, self._spec.name, self._spec.api_key)
        try:
            card = CARD.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            message = f"target {self._spec.name!r}: the agent's card at its address can't be read: {exc}"
            raise TargetFailed(message, status_code=response.status) from exc
        return Agent(
            base_url=self._base_url or self._interface(card),
            can_push=card.capabilities.push_notifications,
            name=card.name,
            skills=tuple(skill.name for skill in card.skills),
        )

    def _interface(self, card: AgentCard) -> str:
        """The first that we speak. Raises: TargetRejected: there is none, or it is elsewhere."""
        spoken = [one for one in card.supported_interfaces if _is_spoken(one)]
        if not spoken:
            offered = ", ".join(sorted({_shown(one) for one in card.supported_interfaces})) or "none"
            raise TargetRejected(
                f"target {self._spec.name!r}: the agent's card has no interface of {BINDING} {VERSION}, but: {offered}"
            )
        chosen = next((one for one in spoken if _origin(one.url) == _origin(self._url)), None)
        if chosen is None:
            raise TargetRejected(
                f"target {self._spec.name!r}: the agent's card names an interface of another origin, where the key "
                f"would go: if it is right, write it as targets.{self._spec.name}.base_url"
            )
        # The host as it was configured: a card of this machine may say `0.0.0.0`, or `localhost` where that is another.
        place, configured = urlsplit(chosen.url), urlsplit(self._url)
        base = place._replace(netloc=configured.netloc, query="", fragment="").geturl().rstrip("/")
        return f"{base}/{quote(chosen.tenant, safe='')}" if chosen.tenant else base


def _is_spoken(interface: Interface) -> bool:
    return interface.protocol_binding == BINDING and interface.protocol_version.split(".")[0] in {"", "1"}


def _shown(interface: Interface) -> str:
    return f"{interface.protocol_binding or '?'} {interface.protocol_version}".strip()[:40]


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; of no URL, something that equals none. All names of this machine are one."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ("", url, None)
    host = (parts.hostname or "").lower()
    return (parts.scheme, _LOOPBACK if _is_loopback(host) else host, port)


def _is_loopback(host: str) -> bool:
    """Whether a host's name is this machine's own, in one of the ways that servers call themselves."""
    if host == _LOOPBACK:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
