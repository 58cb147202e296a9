"""Which server is asked, and by whom (R74, R75, D31, D62)."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.errors import MatrixError
from mmr.http.addresses import ClientAddresses, address_group
from mmr.http.host import HostFinder, host_candidates
from mmr.types import is_valid_server_name

CONFIGURED = ["a.example", "b.example:8448", "[2001:db8::1]", "[2001:db8::2]:8448"]


def finder(use_forwarded_host: bool = True, now: Any = lambda: 0.0) -> HostFinder:
    domains: dict[str, Any] = {name: SimpleNamespace(name=name) for name in CONFIGURED}
    return HostFinder(domains.get, lambda: domains, use_forwarded_host, now)


def found(headers: dict[bytes, list[bytes]], trusted: bool = True) -> str:
    return finder().find(headers, trusted)[0]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"a.example", "a.example"),
        (b"A.Example", "a.example"),
        (b"a.example:8008", "a.example"),
        (b"b.example:8448", "b.example:8448"),
        (b"[2001:DB8::1]", "[2001:db8::1]"),
        (b"[2001:db8::1]:443", "[2001:db8::1]"),
        (b"[2001:db8::2]:8448", "[2001:db8::2]:8448"),
    ],
)
def test_hosts_are_found(host: bytes, name: str) -> None:
    """R75, D62."""
    assert found({b"host": [host]}) == name


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"c.example",
        b"b.example",
        b"[2001:db8::2]",
        b"a.example.",
        b"a.example:",
        b"a.example:x",
        b"a.example:99999",
        b"a.example@b.example",
        b"a.example/",
        b"\xc3\xa4.example",
        b"a.example,a.example",
    ],
)
def test_other_hosts_are_unknown(host: bytes) -> None:
    """R75."""
    with pytest.raises(MatrixError) as caught:
        found({b"host": [host]})
    assert caught.value.status == 502


def test_forwarded_hosts_count_from_trusted_proxies_only() -> None:
    """R74."""
    headers = {b"host": [b"internal"], b"x-forwarded-host": [b"a.example, internal"]}
    assert found(headers) == "a.example"
    for untrusting in (
        lambda: found(headers, trusted=False),
        lambda: finder(use_forwarded_host=False).find(headers, True),
    ):
        with pytest.raises(MatrixError):
            untrusting()


def test_unknown_hosts_are_logged_with_what_is_configured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R73, R75: for the operator, once a minute."""
    time = [0.0]
    hosts = finder(now=lambda: time[0])

    def ask(host: bytes) -> None:
        with pytest.raises(MatrixError):
            hosts.find({b"host": [host]}, False)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ask(b"c.example")
        assert len(caplog.records) == 1
        assert "c.example" in caplog.text
        assert "b.example:8448" in caplog.text
        for number in range(500):
            ask(b"%d.example" % number)
        assert len(caplog.records) == 100
        time[0] = 61.0
        ask(b"c.example")
        assert len(caplog.records) == 101


@given(
    st.one_of(st.binary(max_size=60), st.from_regex(rb"[\w.\[\]:-]+", fullmatch=True))
)
def test_candidates_are_server_names(value: bytes) -> None:
    """R75."""
    for name in host_candidates(value):
        assert is_valid_server_name(name)
        assert name == name.lower()


@pytest.mark.parametrize(
    ("peer", "forwarded", "real_ip", "client"),
    [
        # Directly reachable: headers are forged.
        ("203.0.113.9", [b"192.0.2.1"], b"192.0.2.2", "203.0.113.9"),
        # Chains of proxies.
        ("127.0.0.1", [], None, "127.0.0.1"),
        ("127.0.0.1", [b"192.0.2.1"], None, "192.0.2.1"),
        ("127.0.0.1", [b"192.0.2.1, 10.0.0.2"], None, "192.0.2.1"),
        ("127.0.0.1", [b"6.6.6.6, 192.0.2.1, 10.0.0.2, 10.0.0.3"], None, "192.0.2.1"),
        ("127.0.0.1", [b"6.6.6.6", b"192.0.2.1", b"10.0.0.2"], None, "192.0.2.1"),
        ("127.0.0.1", [b"10.0.0.9, 10.0.0.2"], None, "10.0.0.9"),
        (None, [b"192.0.2.1"], None, "192.0.2.1"),
        (None, [], None, ""),
        ("127.0.0.1", [], b"192.0.2.2", "192.0.2.2"),
        ("127.0.0.1", [b"192.0.2.1"], b"192.0.2.2", "192.0.2.1"),
        # An entry that is no address ends the walk.
        ("127.0.0.1", [b"192.0.2.1, unknown, 10.0.0.2"], None, "10.0.0.2"),
        ("127.0.0.1", [b"192.0.2.1, "], None, "127.0.0.1"),
        # Ports, IPv6, IPv4 within IPv6.
        ("127.0.0.1", [b"192.0.2.1:5678"], None, "192.0.2.1"),
        ("127.0.0.1", [b"[2001:DB8::1]:5678"], None, "2001:db8::1"),
        ("127.0.0.1", [b"2001:db8::1"], None, "2001:db8::1"),
        ("::ffff:127.0.0.1", [b"::ffff:192.0.2.1"], None, "192.0.2.1"),
    ],
)
def test_clients_behind_proxies(
    peer: str | None, forwarded: list[bytes], real_ip: bytes | None, client: str
) -> None:
    """R74, D31."""
    addresses = ClientAddresses()
    is_trusted = addresses.is_trusted(peer)
    assert addresses.client_of(peer, is_trusted, forwarded, real_ip) == client


def test_mmrs_trust_in_anybody_still_works() -> None:
    """R74."""
    addresses = ClientAddresses((), trust_any=True)
    assert addresses.client_of("203.0.113.9", False, [b"x, y"], None) == "x, y"
    assert addresses.client_of("203.0.113.9", False, [], None) == "203.0.113.9"


def test_malformed_networks_stop_the_start() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        ClientAddresses(["10.0.0/8"])


def test_limits_count_ipv6_networks_as_one_client() -> None:
    """R69."""
    assert address_group("192.0.2.1") == "192.0.2.1"
    assert address_group("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert address_group("2001:db8:1:2:9::9") == "2001:db8:1:2::/64"
    assert address_group("not an address") == "not an address"
