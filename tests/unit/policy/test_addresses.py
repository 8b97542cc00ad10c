"""Where a request that a user names may go."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import RequestError
from forebay.policy.addresses import is_allowed, read_network, read_url

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1",
    "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "ff0e::1",
    "", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "1.2.3.4.5", "[::1]",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_allowed(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_each_of_its_ipv6_forms(address: IPv4Address) -> None:
    verdict = is_allowed(str(address))
    assert is_allowed(f"::ffff:{address}") == verdict
    assert is_allowed(f"64:ff9b::{address}") == verdict


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_allowed(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        mapped = getattr(address, "ipv4_mapped", None)
        assert mapped is not None or not is_allowed(str(address)) or str(address).startswith("64:ff9b:")


def test_a_network_that_is_allowed_may_be_reached_in_every_form() -> None:
    allowed = [read_network("10.0.0.0/8"), read_network("fd00::/8"), read_network("127.0.0.1")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7", "127.0.0.1"):
        assert is_allowed(address, allowed)
    for address in ("127.0.0.2", "192.168.0.1", "fe80::1"):
        assert not is_allowed(address, allowed)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "http://example.com:8080/hook?token=a%20b", "https://1.2.3.4/x", "https://[2606:4700::1]/",
        "https://xn--bcher-kva.example/", "https://a_b.example/",
    ],
)  # fmt: skip
def test_a_url_that_can_be_read_in_one_way_is_taken(url: str) -> None:
    assert read_url(url, "url").hostname


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com", "file:///etc/passwd", "https://", "https:///path", "https://:443/",
        "https://user@example.com/", "https://user:pass@example.com/", "https://example.com@127.0.0.1/",
        "https://example.com\\@127.0.0.1/", "https://example.com#@127.0.0.1/", "https://example.com/#part",
        "https://example.com:0/", "https://example.com:99999/", "https://example.com:port/", " https://example.com",
        "https://exa mple.com", "https://example.com\n", "https://example.com/\x00", "https://bücher.example/",
        "https://[::1", "https://[fe80::1%25eth0]/", "https://example.com/" + "a" * 2048, "https://%31%32%37.0.0.1/",
        "gopher://x", "//example.com",
    ],
)  # fmt: skip
def test_a_url_that_may_mean_something_else_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_url(url, "url")
    assert (refused.value.code, refused.value.param) == ("webhook_url_refused", "url")
