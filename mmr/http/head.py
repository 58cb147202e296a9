"""Reading request heads: one strict parser, without a lenient second one beside it.

Whatever two servers could read in two ways is refused, because that is how requests
are smuggled past a proxy (R63).
"""

from __future__ import annotations

from mmr.errors import MatrixError, bad_request
from mmr.http.limits import HttpLimits

_TOKEN = (
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# Everything below space but the tab, and DEL. CR and LF are counted instead: they
# may only be found as line ends.
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_TARGET = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_MAX_METHOD_BYTES = 20
# 10^15 bytes: more than any disk, and no long integer for a stranger to grow.
_MAX_LENGTH_DIGITS = 15
# Some 5 MB of heads at most.
_MAX_KEPT = 1000
_MAX_KEPT_BYTES = 2048

Headers = dict[bytes, list[bytes]]


class RequestHead:
    """A request line with its headers, and what they say about the body.

    Attributes:
        headers: Values in order, by lower-cased name.
        length: Bytes of body; None when it is chunked.
        keep_alive: Whether the client wants the connection to stay open.
        path: The target up to the question mark; percent-encoded ASCII.
        query: What follows it.
        log_text: The access log's words for it, once it has found them.
        hot_key: What `mmr.http.hot` knows it by, once that is worked out.
    """

    __slots__ = (
        "expects_continue",
        "headers",
        "hot_key",
        "is_http11",
        "keep_alive",
        "length",
        "log_text",
        "method",
        "path",
        "query",
        "target",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        is_http11: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.path, _, self.query = target.decode("ascii").partition("?")
        self.log_text: str | None = None
        self.hot_key: tuple[bytes, ...] | None = None
        self.is_http11 = is_http11
        self.length = _body_length(headers, is_http11)
        self.keep_alive = _wants_keep_alive(headers, is_http11)
        self.expects_continue = is_http11 and any(
            value.lower() == b"100-continue" for value in headers.get(b"expect", ())
        )


class HeadReader:
    """`parse_head`, which remembers the heads that come again and again.

    A client that polls sends the very same bytes each time. Only heads without a body
    are kept, and they are never changed.

    Args:
        limits: What a head may be.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._kept: dict[bytes, RequestHead] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, block: bytes) -> RequestHead:
        """As `parse_head`."""
        head = self._kept.get(block)
        if head is not None:
            return head
        head = parse_head(block, self._limits)
        if head.length == 0 and len(block) <= _MAX_KEPT_BYTES:
            if len(self._kept) >= _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[block] = head
        return head


def refused_head() -> RequestHead:
    """Stands in, in the log and for the answer, for a head that can't be read."""
    return RequestHead(b"-", b"-", {})


def parse_head(block: bytes, limits: HttpLimits) -> RequestHead:
    """Read a head.

    Args:
        block: The bytes up to, not including, the empty line.

    Raises:
        MatrixError: 400, 414, 431 or 505. The connection must be closed then.
    """
    lines = block.split(b"\r\n")
    line_ends = len(lines) - 1
    if line_ends > limits.head_lines:
        raise head_too_large()
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * line_ends:
        raise bad_request("Control character in the request head")
    method, target, is_http11 = _parse_request_line(lines[0], limits.target_bytes)
    headers: Headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        # A space before the colon or at the line's start (folding) is no token.
        if not colon or not name or name.translate(None, _TOKEN):
            raise bad_request("Malformed header line")
        name = name.lower()
        if name in headers:
            headers[name].append(value.strip(b" \t"))
        else:
            headers[name] = [value.strip(b" \t")]
    hosts = len(headers.get(b"host", ()))
    if hosts > 1 or (is_http11 and hosts == 0):
        raise bad_request("Exactly one Host header is needed")
    return RequestHead(method, target, headers, is_http11)


def head_too_large() -> MatrixError:
    """431: too many bytes or lines before the body."""
    return MatrixError(431, "M_UNKNOWN", "Request head too large", "M_BAD_REQUEST")


def target_too_long() -> MatrixError:
    """414: the request line alone passes its limit."""
    return MatrixError(414, "M_UNKNOWN", "Request URL too long", "M_BAD_REQUEST")


def _parse_request_line(line: bytes, max_target: int) -> tuple[bytes, bytes, bool]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise bad_request("Malformed request line")
    method, target, version = parts
    if not method or len(method) > _MAX_METHOD_BYTES or method.translate(None, _TOKEN):
        raise bad_request("Malformed method")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _bad_version(version)
    if len(target) > max_target:
        raise target_too_long()
    # Origin form only: an absolute target is a second, rivalling Host.
    if not target.startswith(b"/") and not (method == b"OPTIONS" and target == b"*"):
        raise bad_request("Malformed request target")
    if target.translate(None, _TARGET):
        raise bad_request("Malformed request target")
    return method, target, version == b"HTTP/1.1"


def _bad_version(version: bytes) -> MatrixError:
    digits = version.removeprefix(b"HTTP/")
    if len(version) == 8 and digits[:1].isdigit() and digits[2:].isdigit():
        message = "Only HTTP/1.0 and HTTP/1.1 are spoken here"
        return MatrixError(505, "M_UNKNOWN", message, "M_BAD_REQUEST")
    return bad_request("Malformed HTTP version")


def _body_length(headers: Headers, is_http11: bool) -> int | None:
    lengths = headers.get(b"content-length")
    codings = headers.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None or not is_http11:
            raise bad_request("Content-Length or HTTP/1.0 with Transfer-Encoding")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise bad_request("Unknown transfer coding")
        return None
    if lengths is None:
        return 0
    if len(lengths) != 1:
        raise bad_request("Several Content-Length headers")
    length = lengths[0]
    # isdigit() of bytes knows ASCII digits only: no sign, no comma, no underscore.
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise bad_request("Malformed Content-Length")
    return int(length)


def _wants_keep_alive(headers: Headers, is_http11: bool) -> bool:
    values = headers.get(b"connection")
    if values is None:
        return is_http11
    tokens = {token.strip() for token in b",".join(values).lower().split(b",")}
    return b"close" not in tokens and (is_http11 or b"keep-alive" in tokens)
