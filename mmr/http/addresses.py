"""Who the client is, behind proxies that we trust and none that we don't (R74)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

TRUSTED_BY_DEFAULT = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)
_MAX_VERBATIM = 255
_MAX_HOPS = 32


class ClientAddresses:
    """Finds the client's address: the one that limits, logs and upstream calls use.

    Args:
        trusted_proxies: Networks whose forwarding headers count.
        trust_any: MMR's ``repo.trustAnyForwardedAddress``: the header as it comes,
            from anybody.

    Raises:
        ValueError: a network is malformed.
    """

    def __init__(
        self,
        trusted_proxies: Iterable[str] = TRUSTED_BY_DEFAULT,
        trust_any: bool = False,
    ) -> None:
        self._networks = tuple(ip_network(text) for text in trusted_proxies)
        self._trust_any = trust_any
        self._is_trusted = functools.lru_cache(maxsize=1024)(self._look_up)

    def is_trusted(self, peer: str | None) -> bool:
        """Whether the peer is a proxy of ours. Unix sockets are."""
        if peer is None:
            return True
        address = _parse(peer)
        return address is not None and self._is_trusted(address)

    def client_of(
        self,
        peer: str | None,
        peer_is_trusted: bool,
        forwarded_for: Sequence[bytes],
        real_ip: bytes | None,
    ) -> str:
        """The client's address; empty when only a unix socket is known.

        The right-most entry that isn't one of our proxies. An entry that is no
        address ends the walk: nobody vouches for what stands before it.

        Args:
            peer: The other end of the socket; None on a unix socket.
            peer_is_trusted: What `is_trusted` says of it.
            forwarded_for: All ``X-Forwarded-For`` headers.
            real_ip: ``X-Real-IP``, for proxies that send only that.
        """
        if self._trust_any and forwarded_for and forwarded_for[0]:
            return forwarded_for[0].decode("ascii", "backslashreplace")[:_MAX_VERBATIM]
        known = peer or ""
        if not peer_is_trusted:
            return known
        headers = forwarded_for or ([real_ip] if real_ip else [])
        if not headers:
            return known
        entries = b",".join(headers).split(b",")
        for entry in entries[: -_MAX_HOPS - 1 : -1]:
            address = _parse(entry.strip(b" \t").decode("ascii", "replace"))
            if address is None:
                break
            known = str(address)
            if not self._is_trusted(address):
                break
        return known

    def _look_up(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def address_group(address: str) -> str:
    """What limits count as one client: an IPv4 address, or an IPv6 /64."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False).network_address) + "/64"
    return address if parsed is None else str(parsed)


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Address | None:
    """Read an address, with or without a port; IPv4 within IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
