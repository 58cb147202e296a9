"""One parser for URLs and hosts: what it gives is checked *and* connected to (R12)."""

from __future__ import annotations

import re
import unicodedata
import urllib.parse
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

import attrs
import idna

from mmr.http.guard.errors import FetchFailed, Step

MAX_URL_CHARS = 2048
MAX_HOST_BYTES = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOW_PORTS = {80, 443}
# Other services that speak lines of text, or trust whoever reaches them: databases,
# queues, caches, remote control, cluster agents, chat, file systems.
_REFUSED_PORTS = frozenset(
    int(port)
    for port in (
        "1080 1433 1434 1521 1719 1720 1723 2049 2181 2375 2376 2379 2380 3128 3268"
        " 3269 3306 3389 3659 4045 4190 4222 4369 5060 5061 5222 5269 5432 5433 5671"
        " 5672 5900 5901 5984 5985 5986 6000 6379 6380 6432 6566 6665 6666 6667 6668"
        " 6669 6679 6697 7000 7001 9042 9092 9160 9200 9300 10080 10250 10255 11211"
        " 11300 15672 16379 26379 27017 27018 27019 28015 50000 61613 61616"
    ).split()
)
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\[[^]/?#@]*\]|[^][:/?#@]*)(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<target>[/?][^#]*)?(?:#.*)?\Z"
)
_NAME = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
    r"(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
# A name whose last label is a number is an IPv4 address to some parser or other.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z", re.DOTALL)
# Format characters (Cf) are left to IDNA in hosts, and encoded elsewhere.
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp", "Zs"}
_KEPT_IN_TARGET = "%/?:@!$&'()*+,;=-._~[]"


@attrs.frozen
class GuardedUrl:
    """A URL that is safe to look up, but whose addresses are not judged yet.

    Attributes:
        scheme: Lower case.
        host: Lower-case ASCII name, dotted quad, or IPv6 address without brackets.
        port: Explicit or the scheme's own.
        target: Path and query as they go on the wire; never empty.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """Host with its port, unless that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == _DEFAULT_PORTS.get(self.scheme)
        return host if is_default else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to (R14)."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"

    def join(self, reference: str, schemes: Collection[str]) -> GuardedUrl:
        """The URL of a ``Location``, with every check of `parse_url`.

        Raises:
            FetchFailed: the reference is refused.
        """
        # Before the join: the library silently drops some of what is refused here.
        _check_characters(reference)
        try:
            joined = urllib.parse.urljoin(str(self), reference)
        except ValueError:
            raise _refused("malformed reference") from None
        return parse_url(joined, schemes)


def parse_url(text: str, schemes: Collection[str] = ("http", "https")) -> GuardedUrl:
    """Read a URL. The fragment is dropped.

    Raises:
        FetchFailed: with `Step.URL`, for whatever two parsers might read in two ways,
            other schemes, and ports of other services.
    """
    _check_characters(text)
    match = _URL.match(text)
    if match is None:
        raise _refused("not an absolute URL without user info")
    scheme = match["scheme"].lower()
    if scheme not in schemes or scheme not in _DEFAULT_PORTS:
        raise _refused(f"scheme {scheme[:20]!r}")
    host = parse_host(match["host"])
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    check_port(port)
    return GuardedUrl(scheme, host, port, _target(match["target"] or "/"))


def parse_host(text: str) -> str:
    """Read a host: a name, a canonical dotted quad, or an IPv6 address.

    Args:
        text: As in a URL or a server name; IPv6 in brackets or without.

    Returns:
        As `GuardedUrl.host`.

    Raises:
        FetchFailed: with `Step.URL`.
    """
    if len(text) > MAX_HOST_BYTES:
        raise _refused("host too long")
    if ":" in text or "[" in text:
        return _ipv6(text)
    host = text.lower() if text.isascii() else _idna(text)
    if _NUMERIC.match(host):
        # A quad that only the mapping made is refused as well.
        return _ipv4(text)
    host = host.removesuffix(".")
    if len(host) > MAX_HOST_BYTES or not _NAME.match(host):
        raise _refused("malformed host")
    return host


def check_port(port: int) -> None:
    """Refuse ports of other services (R13).

    Raises:
        FetchFailed: with `Step.URL`.
    """
    if not 0 < port < 65536 or port in _REFUSED_PORTS:
        raise _refused(f"port {port}")
    if port < 1024 and port not in _LOW_PORTS:
        raise _refused(f"port {port}")


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL_CHARS:
        raise _refused(f"longer than {MAX_URL_CHARS} characters")
    if "\\" in text:
        raise _refused("backslash")
    if any(unicodedata.category(char) in _REFUSED_CATEGORIES for char in text):
        raise _refused("blank or control character")


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise _refused("numeric host that is no dotted quad") from None


def _ipv6(text: str) -> str:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = IPv6Address(inner)
    except ValueError:
        raise _refused("malformed IPv6 address") from None
    if address.scope_id is not None:
        raise _refused("zone id")
    return str(address)


def _idna(text: str) -> str:
    # The length is bounded by the caller: the mapping's cost grows with it.
    try:
        return idna.encode(text, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise _refused("host is no valid internationalised name") from None


def _target(text: str) -> str:
    quoted = urllib.parse.quote(text, safe=_KEPT_IN_TARGET)
    return quoted if quoted.startswith("/") else f"/{quoted}"


def _refused(reason: str) -> FetchFailed:
    return FetchFailed(Step.URL, reason)
