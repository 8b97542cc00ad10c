"""Which addresses on the network a request that a user names may go to. Pure: no name is resolved here."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from forebay.domain.errors import RequestError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)  # no space, control character or letter that two parsers read differently
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|[0-9a-fA-F:.]+", re.ASCII)
_COMPATIBLE = ip_network("::/96")  # IPv4-compatible, long deprecated
_TRANSLATED = ip_network("64:ff9b::/96")  # NAT64. Source: RFC 6052
_LOCALLY_TRANSLATED = ip_network("64:ff9b:1::/48")  # Source: RFC 8215
_SIX_TO_FOUR = ip_network("2002::/16")  # Source: RFC 3056
_TEREDO = ip_network("2001::/32")  # Source: RFC 4380
_NEVER = (_COMPATIBLE, _LOCALLY_TRANSLATED, _SIX_TO_FOUR, _TEREDO)


def read_network(text: str) -> Network:
    """``10.0.0.0/8``, or one address. Raises: ValueError."""
    return ip_network(text.strip())


def is_allowed(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether a request may go to this address: it is public, or in one of the ``allowed`` networks."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(address)
    if any(address in network or (inner is not None and inner in network) for network in allowed):
        return True
    if inner is not None:
        return _is_public(inner)
    return _is_public(address)


def is_literal(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def read_url(text: str, param: str) -> SplitResult:
    """Reads a URL strictly: http or https, a host, no credentials, nothing that parsers read differently.

    Raises: RequestError.
    """
    parts = _split(text)
    problem = _problem(text, parts)
    if parts is None or problem:
        raise RequestError(f"{param}: {problem or 'it is no URL'}", param=param, code="webhook_url_refused")
    return parts


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises above 65535
    except ValueError:
        return None
    return parts


def _problem(text: str, parts: SplitResult | None) -> str:
    if len(text) > LONGEST_URL or not _VISIBLE.fullmatch(text) or "\\" in text:
        return f"a URL has 1 to {LONGEST_URL} visible ASCII characters, and no backslash (write xn-- for other letters)"
    if parts is None:
        return "it is no URL"
    if parts.scheme not in {"http", "https"}:
        return "a URL begins with https:// or http://"
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return "a URL has no user name or password in it"
    if parts.fragment or text.endswith("#"):
        return "a URL has no fragment (#…): it would not be sent"
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        return "a URL names a host"
    return "a port is 1 to 65535" if parts.port == 0 else ""


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.is_site_local or any(address in each for each in _NEVER)):
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
