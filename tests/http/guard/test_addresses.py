"""Which addresses may be reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.config.url_previews import DISALLOWED_NETWORKS
from mmr.http.guard import AddressGuard, Verdict
from mmr.http.guard.addresses import DENIED_NETWORKS

# The rows of the requirements' table, written again: a slip in one is seen.
TABLE = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24
203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32 ::/128 ::1/128 ::/96
64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7
fe80::/10 fec0::/10 ff00::/8
""".split()
PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
GUARD = AddressGuard()

denied_ipv4 = st.sampled_from(
    [ip_network(text) for text in DENIED_NETWORKS if ":" not in text]
).flatmap(
    lambda network: st.integers(
        int(network.network_address), int(network.broadcast_address)
    ).map(IPv4Address)
)
ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)


def wrap(prefix: str, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) | int(inner))


WRAPPERS = ["::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "::", "64:ff9b:1::"]
ISATAP = ["2606:4700::5efe:0:0", "2606:4700::200:5efe:0:0", "2606:4700:1:2:0:5efe::"]


@pytest.mark.parametrize("row", TABLE)
def test_every_row_is_denied_from_its_first_to_its_last_address(row: str) -> None:
    """R9: the table is built in, MMR's sample lists beside it or not."""
    network = ip_network(row)
    for guard in (GUARD, AddressGuard(disallowed=DISALLOWED_NETWORKS)):
        for address in (network.network_address, network.broadcast_address):
            assert guard.judge(str(address)) is Verdict.DENIED, address


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_of_both_families_are_allowed(address: str) -> None:
    """D55: IPv6 is allowed unless the operator says otherwise."""
    assert GUARD.judge(address) is Verdict.ALLOWED


@given(denied_ipv4, st.sampled_from(WRAPPERS + ISATAP))
def test_denied_ipv4_is_denied_in_every_wrapper(
    inner: IPv4Address, wrapper: str
) -> None:
    """R10."""
    assert GUARD.judge(str(inner)) is Verdict.DENIED
    assert GUARD.judge(str(wrap(wrapper, inner))) is Verdict.DENIED


@given(ipv4, st.sampled_from(["::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", *ISATAP]))
def test_wrapped_ipv4_is_judged_as_the_plain_one(
    inner: IPv4Address, wrapper: str
) -> None:
    """R10: NAT64 to public addresses works, as DNS64 networks need."""
    assert GUARD.judge(str(wrap(wrapper, inner))) is GUARD.judge(str(inner))


@given(st.integers(0, 2**128 - 1).map(IPv6Address), st.booleans())
def test_spelling_of_an_address_changes_nothing(
    address: IPv6Address, exploded: bool
) -> None:
    """R10."""
    spelled = address.exploded.upper() if exploded else address.compressed
    assert GUARD.judge(spelled) is GUARD.judge(str(address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "1.1.1.1/32",
        "fe80::1%lo",
        "2606:4700::1%eth0",
        "[::1]",
        "1.1.1.1 ",
        "01.1.1.1",
        "１.1.1.1",
    ],
)
def test_what_is_no_plain_address_is_denied(text: str) -> None:
    """R10: an unreadable address fails closed."""
    assert GUARD.judge(text) is Verdict.DENIED


def test_disallowed_adds_and_allowed_narrows() -> None:
    """R9, R11: outside is not denied: the name's other addresses may be used."""
    guard = AddressGuard(allowed=["1.0.0.0/8", "10.0.0.0/8"], disallowed=["1.2.3.0/24"])
    assert guard.judge("1.1.1.1") is Verdict.ALLOWED
    assert guard.judge("1.2.3.4") is Verdict.DENIED
    assert guard.judge("9.9.9.9") is Verdict.OUTSIDE
    assert guard.judge("2606:4700::1") is Verdict.OUTSIDE
    assert guard.judge("10.0.0.1") is Verdict.DENIED
    assert guard.judge("::ffff:1.2.3.4") is Verdict.DENIED


def test_only_exemptions_open_denied_networks() -> None:
    """R9."""
    guard = AddressGuard(allowed=["1.0.0.0/8"], exempt=["10.1.0.0/16", "fd00::/8"])
    assert guard.judge("10.1.2.3") is Verdict.ALLOWED
    assert guard.judge("10.2.0.1") is Verdict.DENIED
    assert guard.judge("fd00::1") is Verdict.ALLOWED
    # Judged by both: the outer address alone opens nothing (R10).
    assert guard.judge("fd00::5efe:10.2.0.1") is Verdict.DENIED
    assert guard.judge("fd00::5efe:10.1.0.1") is Verdict.ALLOWED


@pytest.mark.parametrize("option", ["allowed", "disallowed", "exempt"])
@pytest.mark.parametrize("text", ["10.0.0.0/33", "fc00::/129", "intranet", ""])
def test_malformed_network_is_never_skipped(option: str, text: str) -> None:
    """R9, D29: a typo does not end a list."""
    with pytest.raises(ValueError, match=r"."):
        AddressGuard(**{option: [text]})


def test_wrapping_networks_hold_what_they_should() -> None:
    assert wrap("64:ff9b::", IPv4Address("1.1.1.1")) in IPv6Network("64:ff9b::/96")
