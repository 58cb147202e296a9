"""The ``X-Matrix`` authorisation header (spec "Request Authentication", R51)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from mmr.crypto.keys import ALGORITHM, SIGNATURE_BYTES, decode_base64, encode_base64
from mmr.types import is_valid_server_name

_MAX_HEADER_BYTES = 4096
_MAX_ENTRIES = 5
_SCHEME = re.compile(r"x-matrix(?: +|\Z)", re.IGNORECASE)
# RFC 9110 section 11.2. The specification adds the colon to bare values.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_BARE = r"[!#$%&'*+.^_`|~0-9A-Za-z:-]+"
_QUOTED = r'"(?P<quoted>(?:[\t !#-\[\]-~]|\\[\t -~])*)"'
_PARAMETER = re.compile(
    rf"(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:(?P<bare>{_BARE})|{_QUOTED})"
    r"[ \t]*(?P<end>,[ \t]*(?!\Z)|\Z)"
)
_ESCAPED = re.compile(r"\\(.)")
_NEEDS_ESCAPE = re.compile(r'["\\]')


class BadXMatrix(ValueError):
    """The header can't be read, or not in one way only."""


@attrs.frozen(slots=True)
class XMatrix:
    """One entry: a server's signature of a request.

    Attributes:
        origin: Who says to have signed, as written.
        destination: For whom; None from servers older than v1.3.
        key_id: Such as ``ed25519:a_AbCd``.
        signature: 64 bytes.
    """

    origin: str
    destination: str | None
    key_id: str
    signature: bytes

    def header(self) -> bytes:
        """The header's value, in the form that old recipients can read."""
        values = {"origin": self.origin}
        if self.destination is not None:
            values["destination"] = self.destination
        values |= {"key": self.key_id, "sig": encode_base64(self.signature)}
        pairs = (f'{name}="{_escape(value)}"' for name, value in values.items())
        return f"X-Matrix {','.join(pairs)}".encode("ascii")


def request_object(
    method: str, target: str, origin: str, destination: str
) -> dict[str, str]:
    """What the signature of a request without a body covers.

    Args:
        method: Such as ``GET``.
        target: Path and query, byte for byte as in the request line (R50).
        origin: The sender's server name.
        destination: The receiver's server name, before delegation.
    """
    return {
        "method": method,
        "uri": target,
        "origin": origin,
        "destination": destination,
    }


def parse_x_matrix(headers: Sequence[bytes]) -> list[XMatrix]:
    """Read the ``Authorization`` headers of a request.

    Other schemes are skipped: they mean nothing between servers.

    Returns:
        The entries, which agree on origin and destination; empty when there are none.

    Raises:
        BadXMatrix: one is malformed, too long or one too many, or they disagree.
    """
    entries: list[XMatrix] = []
    for header in headers:
        text = header.decode("latin-1")
        scheme = _SCHEME.match(text)
        if scheme is None:
            continue
        if len(header) > _MAX_HEADER_BYTES:
            raise BadXMatrix(f"a header is longer than {_MAX_HEADER_BYTES} bytes")
        if len(entries) == _MAX_ENTRIES:
            raise BadXMatrix(f"there are more than {_MAX_ENTRIES} signatures")
        entries.append(_entry(text, scheme.end()))
    if len({(entry.origin, entry.destination) for entry in entries}) > 1:
        raise BadXMatrix("the headers name different servers")
    return entries


def _entry(text: str, start: int) -> XMatrix:
    values: dict[str, str] = {}
    for name, value in _parameters(text, start):
        if name in values:
            raise BadXMatrix("a parameter is repeated")
        values[name] = value
    origin, key_id = _required(values, "origin"), _required(values, "key")
    if not is_valid_server_name(origin):
        raise BadXMatrix("the origin is no server name")
    if not key_id.startswith(f"{ALGORITHM}:"):
        raise BadXMatrix("the key is of an unknown kind")
    signature = _signature(_required(values, "sig"))
    return XMatrix(origin, values.get("destination"), key_id, signature)


def _parameters(text: str, position: int) -> Iterator[tuple[str, str]]:
    while True:
        match = _PARAMETER.match(text, position)
        if match is None:
            raise BadXMatrix("the parameters can't be read")
        quoted = match["quoted"]
        value = match["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        yield match["name"].lower(), value
        position = match.end()
        if not match["end"]:
            return


def _required(values: dict[str, str], name: str) -> str:
    if not values.get(name):
        raise BadXMatrix(f"{name} is missing")
    return values[name]


def _signature(text: str) -> bytes:
    try:
        signature = decode_base64(text)
    except ValueError:
        raise BadXMatrix("the signature isn't base64") from None
    if len(signature) != SIGNATURE_BYTES:
        raise BadXMatrix("the signature has a wrong length")
    return signature


def _escape(value: str) -> str:
    return _NEEDS_ESCAPE.sub(r"\\\g<0>", value)
