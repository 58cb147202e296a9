"""Web servers on loopback that behave as badly as they are told, and their DNS."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.failure import Failure

from mmr.http.guard import FetchFailed, SrvTarget, Step

LOOPBACK = "127.0.0.1"
_DAY = datetime.timedelta(days=1)


class StubDns:
    """A `Resolver` that knows what it is told.

    Attributes:
        hosts: The addresses of each name. A list of lists is given out in turns (DNS
            rebinding); the last one stays.
        services: The SRV targets of each name.
        asked: The names that were looked up, in order.
        silent: Names that get no answer at all.
    """

    def __init__(
        self,
        hosts: Mapping[str, list[str]] | None = None,
        services: Mapping[str, list[SrvTarget]] | None = None,
    ) -> None:
        self.hosts: dict[str, Any] = dict(hosts or {})
        self.services = dict(services or {})
        self.asked: list[str] = []
        self.silent: set[str] = set()

    async def addresses(self, host: str) -> list[str]:
        """What `hosts` says."""
        await self._ask(host)
        found = self.hosts.get(host)
        if not found:
            raise FetchFailed(Step.DNS, f"{host}: unknown name")
        if isinstance(found[0], list):
            return list(found.pop(0) if len(found) > 1 else found[0])
        return list(found)

    async def srv(self, name: str) -> list[SrvTarget]:
        """What `services` says."""
        await self._ask(name)
        return sorted(self.services.get(name, []))

    async def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self.silent:
            await Deferred()


@attrs.frozen
class Seen:
    """A request as it came over the wire.

    Attributes:
        headers: Last value of each, by lower-case name.
        server_name: What SNI asked for; None without TLS or SNI.
    """

    method: str
    target: str
    headers: dict[str, str]
    server_name: str | None
    raw: bytes


Script = Callable[["StubConnection", Seen], Awaitable[None] | None]


class StubConnection(Protocol):
    """One connection; a script answers each request with raw bytes."""

    def __init__(self, server: StubServer) -> None:
        self._server = server
        self._buffer = b""
        self.is_open = True
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._server.connections.append(self)
        if self._server.greeting:
            self.send(self._server.greeting)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            block, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            seen = _parse(block, self._server_name())
            self._server.requests.append(seen)
            answer = self._server.answer(self, seen)
            if answer is not None:
                Deferred.fromCoroutine(answer)  # type: ignore[arg-type]

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.is_open = False
        self._server.connections.remove(self)
        self.lost.callback(None)

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.transport.write(data)  # type: ignore[union-attr]

    def close(self) -> None:
        """End the connection in order."""
        self.transport.loseConnection()  # type: ignore[union-attr]

    def reset(self) -> None:
        """End it without order."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def reply(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a whole response with its length."""
        self.send(response(status, body, headers))

    def _server_name(self) -> str | None:
        handle = self.transport.getHandle()  # type: ignore[union-attr]
        name = handle.get_servername() if hasattr(handle, "get_servername") else None
        return name.decode() if name else None


class StubServer:
    """A scripted server on a loopback port.

    Args:
        script: Answers a request with raw bytes; may be a coroutine function. By
            default everything gets `body` with `status` and `headers`.
        certificate: Serves TLS with it.
        interface: The address to listen on.

    Attributes:
        requests: All requests so far.
        connections: Those that are open.
        accepted: Connections so far.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        certificate: ssl.PrivateCertificate | None = None,
        interface: str = LOOPBACK,
    ) -> None:
        self.script = script
        self.status = 200
        self.body = b"hello"
        self.headers: dict[str, str] = {}
        self.greeting = b""
        self.requests: list[Seen] = []
        self.connections: list[StubConnection] = []
        self.accepted = 0
        self._certificate = certificate
        self._interface = interface
        self._port: Any = None

    async def start(self) -> StubServer:
        """Listen on a free port."""
        factory = _Factory(self)
        listen: Any = reactor
        if self._certificate is None:
            self._port = listen.listenTCP(0, factory, interface=self._interface)
        else:
            self._port = listen.listenSSL(
                0, factory, self._certificate.options(), interface=self._interface
            )
        return self

    async def stop(self) -> None:
        """Stop listening and drop the connections."""
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
        for connection in list(self.connections):
            if connection.is_open:
                connection.reset()
                await connection.lost

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._port.getHost().port)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "http" if self._certificate is None else "https"

    def url(self, path: str = "/", host: str = LOOPBACK) -> str:
        """A URL on this server."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def answer(self, connection: StubConnection, seen: Seen) -> Awaitable[None] | None:
        """Run the script, or send the fixed answer."""
        if self.script is not None:
            return self.script(connection, seen)
        connection.reply(self.status, self.body, self.headers)
        return None


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, server: StubServer) -> None:
        self._server = server

    def buildProtocol(self, _: object) -> StubConnection:
        self._server.accepted += 1
        return StubConnection(self._server)


def raw_reply(data: bytes, *, close: bool = False) -> Script:
    """A script that answers everything with these bytes."""

    def script(connection: StubConnection, _: Seen) -> None:
        connection.send(data)
        if close:
            connection.close()

    return script


def silence(connection: StubConnection, _: Seen) -> None:
    """A script that never answers."""


def redirect_to(location: str, status: int = 302) -> Script:
    """A script that sends everybody elsewhere."""

    def script(connection: StubConnection, _: Seen) -> None:
        connection.reply(status, b"", {"Location": location})

    return script


def response(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _parse(block: bytes, server_name: str | None) -> Seen:
    first, *lines = block.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Seen(method, target, headers, server_name, block)


@attrs.frozen
class StubCa:
    """A certificate authority of its own.

    Attributes:
        pem: Its certificate, for ``caFile``.
    """

    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """Its certificate, for ``caFile``."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Put the certificate into a file."""
        path.write_bytes(self.pem)
        return path

    def issue(
        self, *names: str, expired: bool = False, self_signed: bool = False
    ) -> ssl.PrivateCertificate:
        """A server's certificate for names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("server")
        issuer, signer = (
            (subject, key) if self_signed else (self._certificate.subject, self._key)
        )
        builder = _builder(subject, issuer, key, expired)
        san = x509.SubjectAlternativeName([_general_name(name) for name in names])
        certificate = builder.add_extension(san, critical=False).sign(
            signer, hashes.SHA256()
        )
        pair: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(
            _pem(certificate, key)
        )
        return pair


def test_ca() -> StubCa:
    """Make a certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("test CA")
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return StubCa(key, certificate)


# Its name begins as a test's does, and it is none.
test_ca.__test__ = False  # type: ignore[attr-defined]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    expired: bool = False,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * _DAY)
        .not_valid_after(now - _DAY if expired else now + _DAY)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
