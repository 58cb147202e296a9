"""Which addresses may be reached (R9, R10)."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

EVERYWHERE = ("0.0.0.0/0", "::/0")

# Not the standard library's is_global: it calls NAT64, 6to4 and multicast global, and
# changes between versions.
DENIED_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    # A cloud platform's host service, outside of every private range.
    "168.63.129.16/32",
    # Holds the unspecified address, loopback and IPv4-compatible addresses.
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)

# IPv4-mapped, IPv4-translated (SIIT), NAT64: the last four bytes are an IPv4 address.
_WRAPPERS = tuple(
    IPv6Network(text) for text in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
# The upper half of an ISATAP interface id, with and without the "universal" bit.
_ISATAP = {0x00005EFE, 0x02005EFE}


class Verdict(enum.Enum):
    """What a guard says of an address."""

    ALLOWED = "allowed"
    OUTSIDE = "outside"
    """Not in ``allowedNetworks``: left out, but the name's others may be used."""
    DENIED = "denied"
    """Refuses the whole name (R11)."""


class AddressGuard:
    """Judges addresses by the built-in table and the operator's lists.

    Args:
        allowed: What is left after the denials is narrowed to these networks.
        disallowed: Networks denied beside the built-in table.
        exempt: Networks allowed in spite of all that.

    Raises:
        ValueError: a network is malformed (R9: a typo never opens anything).
    """

    def __init__(
        self,
        allowed: Iterable[str] = EVERYWHERE,
        disallowed: Iterable[str] = (),
        exempt: Iterable[str] = (),
    ) -> None:
        self._allowed = _networks(allowed)
        self._denied = _networks((*DENIED_NETWORKS, *disallowed))
        self._exempt = _networks(exempt)

    def judge(self, ip: str) -> Verdict:
        """Judge an address; what is no plain address is denied."""
        try:
            address = ip_address(ip)
        except ValueError:
            return Verdict.DENIED
        if isinstance(address, IPv4Address):
            return self._judge_one(address)
        if address.scope_id is not None:
            return Verdict.DENIED
        inner = wrapped_ipv4(address)
        if inner is None:
            return self._judge_one(address)
        return max(
            self._judge_one(address), self._judge_one(inner), key=_SEVERITY.__getitem__
        )

    def _judge_one(self, address: Address) -> Verdict:
        if _is_in(address, self._exempt):
            return Verdict.ALLOWED
        if _is_in(address, self._denied):
            return Verdict.DENIED
        return Verdict.ALLOWED if _is_in(address, self._allowed) else Verdict.OUTSIDE


_SEVERITY = {Verdict.ALLOWED: 0, Verdict.OUTSIDE: 1, Verdict.DENIED: 2}


def wrapped_ipv4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    value = int(address)
    if _is_in(address, _WRAPPERS) or (value >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(value & 0xFFFFFFFF)
    return None


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
