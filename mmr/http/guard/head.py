"""Reading response heads, strictly: what could be read in two ways is refused (R16)."""

from __future__ import annotations

import re

import attrs

from mmr.http.guard.errors import FetchFailed, Step

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 200
MAX_INTERIM = 5

_STATUS_LINE = re.compile(
    rb"HTTP/1\.(?P<minor>[01]) (?P<status>[1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z"
)
_HEADER = re.compile(
    rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*"
    rb"(?P<value>[\t\x20-\x7e\x80-\xff]*)\Z"
)
# 10^15 bytes: more than any disk.
_LENGTH = re.compile(r"[0-9]{1,15}\Z")
_WITHOUT_BODY = {204, 304}

Headers = dict[str, list[str]]


@attrs.frozen
class ResponseHead:
    """A status line with its headers, and what they say about the body.

    Attributes:
        headers: Values in order, by lower-cased name; bytes above ASCII as Latin-1.
        length: Bytes of body; None when its end is found otherwise.
        is_chunked: The body has chunks. If it has neither chunks nor a length, it ends
            with the connection.
        is_persistent: The connection may serve another request afterwards.
    """

    status: int
    headers: Headers
    length: int | None
    is_chunked: bool
    is_persistent: bool

    @property
    def is_interim(self) -> bool:
        """Whether another head follows."""
        return self.status < 200


def parse_head(block: bytes, *, is_answer_to_head: bool = False) -> ResponseHead:
    """Read a head.

    Args:
        block: The bytes up to, not including, the empty line.
        is_answer_to_head: The request was ``HEAD``: no body follows.

    Raises:
        FetchFailed: with `Step.HEADERS`.
    """
    lines = block.split(b"\r\n")
    if len(lines) > MAX_HEAD_LINES:
        raise _malformed("too many lines")
    first = _STATUS_LINE.match(lines[0])
    if first is None:
        raise _malformed("malformed status line")
    status, is_http11 = int(first["status"]), first["minor"] == b"1"
    if status == 101:
        raise _malformed("switches protocols")
    headers = _parse_headers(lines[1:])
    length, is_chunked = _framing(headers, is_http11)
    if is_answer_to_head or status < 200 or status in _WITHOUT_BODY:
        length, is_chunked = 0, False
    ends_by_itself = is_chunked or length is not None
    is_persistent = ends_by_itself and _is_persistent(headers, is_http11)
    return ResponseHead(status, headers, length, is_chunked, is_persistent)


def _parse_headers(lines: list[bytes]) -> Headers:
    headers: Headers = {}
    for line in lines:
        match = _HEADER.match(line)
        if match is None:
            raise _malformed("malformed header line")
        name = match["name"].decode("ascii").lower()
        value = match["value"].rstrip(b" \t").decode("latin-1")
        headers.setdefault(name, []).append(value)
    return headers


def _framing(headers: Headers, is_http11: bool) -> tuple[int | None, bool]:
    lengths = headers.get("content-length")
    codings = headers.get("transfer-encoding")
    if codings is not None:
        if lengths is not None or not is_http11:
            raise _malformed("Content-Length or HTTP/1.0 with Transfer-Encoding")
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise _malformed("unknown transfer coding")
        return None, True
    if lengths is None:
        return None, False
    if len(lengths) != 1 or not _LENGTH.match(lengths[0]):
        raise _malformed("malformed Content-Length")
    return int(lengths[0]), False


def _is_persistent(headers: Headers, is_http11: bool) -> bool:
    values = ",".join(headers.get("connection", ())).lower().split(",")
    tokens = {value.strip() for value in values}
    return "close" not in tokens and (is_http11 or "keep-alive" in tokens)


def _malformed(reason: str) -> FetchFailed:
    return FetchFailed(Step.HEADERS, reason)
