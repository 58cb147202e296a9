"""Connections to servers that the configuration names, and to no others (R8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from mmr.errors import ConfigError

__all__ = ["split_address", "trusted_endpoint", "unix_endpoint"]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 address stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def trusted_endpoint(
    reactor: Any,
    address: str,
    *,
    timeout_s: float,
    tls: bool = False,
    ca_path: Path | None = None,
) -> IStreamClientEndpoint:
    """Where a configured server listens.

    Args:
        reactor: The reactor.
        address: ``host:port``.
        timeout_s: For the connection itself.
        tls: Use TLS; the server's certificate has to be for this host.
        ca_path: Certificates (PEM) that vouch for it; None: those of the system.

    Raises:
        ConfigError: when the certificates can't be read.
    """
    host, port = split_address(address)
    endpoint = HostnameEndpoint(reactor, host, port, timeout=timeout_s)
    if not tls:
        return endpoint
    trust = platformTrust() if ca_path is None else _authorities(ca_path)
    options = optionsForClientTLS(host, trustRoot=trust)
    return wrapClientTLS(options, endpoint)


def unix_endpoint(
    reactor: Any, path: str, *, timeout_s: float
) -> IStreamClientEndpoint:
    """Where a configured server listens on this machine."""
    return UNIXClientEndpoint(reactor, path, timeout=timeout_s)


def _authorities(path: Path) -> Any:
    marker = b"-----END CERTIFICATE-----"
    try:
        parts = path.read_bytes().split(marker)[:-1]
        if not parts:
            raise ValueError("no certificate is in it")
        return trustRootFromCertificates(
            [Certificate.loadPEM(part + marker + b"\n") for part in parts]
        )
    except Exception as error:
        raise ConfigError(f"can't use the certificates in {path}: {error}") from error
