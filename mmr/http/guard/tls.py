"""TLS towards strangers: 1.2 or newer, verified against a prescribed name (R18)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import service_identity.pyopenssl
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mmr.errors import ConfigError


class TrustRoots:
    """The TLS settings of one client. Loaded once: the system's list is long.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` take the place of the system's list, as in
    every program that uses OpenSSL.

    Args:
        ca_file: Certificates (PEM) trusted beside those (``federation.caFile``).

    Raises:
        ConfigError: the file can't be read.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self.verified = _context()
        self.verified.set_default_verify_paths()
        if ca_file is not None:
            try:
                self.verified.load_verify_locations(str(ca_file))
            except SSL.Error as error:
                raise ConfigError(
                    "no certificates in PEM form can be read from it",
                    source=str(ca_file),
                ) from error
        self.verified.set_verify(SSL.VERIFY_PEER)
        # Skips the certificate and nothing else: addresses are judged elsewhere.
        self.unverified = _context()
        self.unverified.set_verify(SSL.VERIFY_NONE)


@implementer(IOpenSSLClientConnectionCreator)
class TlsIdentity:
    """Starts TLS for one connection, and says whether the peer is who it should be.

    Not Twisted's `optionsForClientTLS`: that loads the trust roots again for every
    connection.

    Args:
        roots: The settings.
        name: The DNS name or address that the certificate must hold.
        verify: Off: any certificate will do.
    """

    def __init__(self, roots: TrustRoots, name: str, verify: bool) -> None:
        self._context = roots.verified if verify else roots.unverified
        self._name = name
        self._verify = verify
        try:
            ip_address(name)
            self._is_address = True
        except ValueError:
            self._is_address = False

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection on memory, with SNI for names and none for addresses."""
        connection = SSL.Connection(self._context, None)
        if not self._is_address:
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection

    def objection(self, connection: SSL.Connection) -> str | None:
        """Why the peer's certificate is not good for the name, if it is not.

        The handshake has verified the chain and the dates already.
        """
        if not self._verify:
            return None
        check = (
            service_identity.pyopenssl.verify_ip_address
            if self._is_address
            else service_identity.pyopenssl.verify_hostname
        )
        try:
            check(connection, self._name)
        except (VerificationError, CertificateError, ValueError):
            return f"the certificate is not for {self._name}"
        return None


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context
