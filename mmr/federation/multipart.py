"""A streaming reader of ``multipart/mixed`` as Matrix servers write it (R59).

Any split of the stream, a preamble, an epilogue, bare LF line ends, parts without
headers and a missing line break before the first or after the last boundary are fine.
Everything has a bound, and a body without its final boundary is cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping

import attrs

from mmr.federation.header_values import split_parameters

MAX_BOUNDARY_BYTES = 70
MAX_PREAMBLE_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_JSON_BYTES = 64 * 1024
MAX_FRAMING_BYTES = MAX_PREAMBLE_BYTES + 2 * MAX_HEADER_BYTES + MAX_JSON_BYTES + 1024
"""What an envelope may add to its file at most, epilogue apart."""

_BOUNDARY = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_BOUNDARY_BYTES - 2}}}[!-~])?\Z")
# What follows the boundary in a delimiter line, and what might become that.
_LINE_REST = re.compile(rb"(?P<final>--)|[ \t]{0,64}(?P<end>\r?\n)")
_UNFINISHED = re.compile(rb"-?\Z|[ \t]{0,64}\r?\Z")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:(.*)\Z", re.DOTALL)


class MultipartError(Exception):
    """The body is not what it should be."""


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` names.

    Raises:
        MultipartError: it is not ``multipart/mixed``, or names no usable boundary.
    """
    media_type, parameters = split_parameters(content_type)
    if media_type.lower() != "multipart/mixed":
        raise MultipartError(f"not multipart/mixed but {media_type[:50]!r}")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.match(boundary):
        raise MultipartError("no boundary, or none that is allowed")
    return boundary.encode("ascii")


class MultipartReader:
    """Reads one part after the other.

    Args:
        boundary: Without the leading dashes.
        chunks: The body, split anywhere.
    """

    def __init__(self, boundary: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._token = b"\n--" + boundary
        self._chunks = chunks
        # As if a line had just ended: the boundary may be the very first bytes.
        self._buffer = bytearray(b"\r\n")
        self._skip = 2
        self._ends_with_crlf = True
        self._at_delimiter = False
        self.is_last = False
        """The delimiter reached last was the final one."""

    async def next_part(self) -> Mapping[str, str]:
        """Go to the next part, skipping what is left of this one.

        Returns:
            Its headers, names lower-case; of a repeated name the first counts.

        Raises:
            MultipartError: there is no further part, or too much before it.
        """
        skipped = 0
        while piece := await self.read():
            skipped += len(piece)
            if skipped > MAX_PREAMBLE_BYTES:
                raise MultipartError("too much before the next boundary")
        if self.is_last:
            raise MultipartError("too few parts")
        self._at_delimiter = False
        return _parse_headers(await self._header_lines())

    async def read(self) -> bytes:
        """Some bytes of this part; empty at its end.

        Raises:
            MultipartError: the body is cut off.
        """
        while not self._at_delimiter:
            piece = self._take_piece()
            if piece:
                return piece
            if not self._at_delimiter:
                await self._fill()
        return b""

    def _take_piece(self) -> bytes:
        """The content that is surely no delimiter; goes past the delimiter if there."""
        end, rest = self._find_delimiter()
        piece = bytes(self._buffer[self._skip : end])
        if rest is None:
            self._skip = max(0, self._skip - end)
            del self._buffer[:end]
            return piece
        self._at_delimiter = True
        self.is_last = rest["final"] is not None
        self._ends_with_crlf = rest["end"] == b"\r\n"
        del self._buffer[: rest.end()]
        self._skip = 0
        return piece

    def _find_delimiter(self) -> tuple[int, re.Match[bytes] | None]:
        """Where the content ends, and the rest of the delimiter's line if it is here.

        Without that, more may still be content: the end is that of what surely is.
        """
        start = 0
        while (found := self._buffer.find(self._token, start)) >= 0:
            after = found + len(self._token)
            if rest := _LINE_REST.match(self._buffer, after):
                return self._without_line_end(found), rest
            if _UNFINISHED.match(self._buffer, after):
                return max(0, found - 1), None
            start = found + 1
        # The token may have begun, and a CR before it belongs to it.
        return max(0, len(self._buffer) - len(self._token)), None

    def _without_line_end(self, newline: int) -> int:
        # Where lines end with a bare LF, a CR before it is content.
        has_cr = newline > 0 and self._buffer[newline - 1] == 0x0D
        return newline - 1 if has_cr and self._ends_with_crlf else newline

    async def _header_lines(self) -> list[bytes]:
        """The header block. The line end of its empty line stays in the buffer:

        it may be the one that belongs to the next delimiter.
        """
        lines: list[bytes] = []
        size = 0
        while True:
            end = self._buffer.find(b"\n")
            if size + (end if end >= 0 else len(self._buffer)) > MAX_HEADER_BYTES:
                raise MultipartError("headers of a part are too long")
            if end < 0:
                await self._fill()
                continue
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            if not line:
                self._skip = end + 1
                return lines
            lines.append(line)
            size += end + 1
            del self._buffer[: end + 1]

    async def _fill(self) -> None:
        try:
            self._buffer += await anext(self._chunks)
        except StopAsyncIteration:
            raise MultipartError("cut off before its final boundary") from None


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    unfolded: list[str] = []
    for line in lines:
        text = line.decode("latin-1")
        if text[0] in " \t" and unfolded:
            unfolded[-1] += text
        else:
            unfolded.append(text)
    for text in unfolded:
        match = _HEADER.match(text)
        if match is None:
            raise MultipartError("a part's header is malformed")
        headers.setdefault(match[1].lower(), match[2].strip(" \t"))
    return headers


@attrs.frozen
class Envelope:
    """The second of exactly two parts (`matrix-media-spec` §8.1).

    Attributes:
        headers: Of the part, names lower-case.
        body: Its bytes; ends without an error only when the whole envelope was right.
    """

    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


async def open_envelope(content_type: str, chunks: AsyncIterator[bytes]) -> Envelope:
    """Read up to the beginning of the media.

    Raises:
        MultipartError: it is no envelope. Also raised by the envelope's body.
    """
    reader = MultipartReader(boundary_of(content_type), chunks)
    headers = await reader.next_part()
    _check_json(headers, await _read_json(reader))
    if reader.is_last:
        raise MultipartError("only one part")
    return Envelope(await reader.next_part(), _last_part(reader))


async def _read_json(reader: MultipartReader) -> bytes:
    data = bytearray()
    while piece := await reader.read():
        data += piece
        if len(data) > MAX_JSON_BYTES:
            raise MultipartError("the JSON part is too long")
    return bytes(data)


def _check_json(headers: Mapping[str, str], data: bytes) -> None:
    media_type, _ = split_parameters(headers.get("content-type", ""))
    if media_type.lower() not in {"", "application/json"}:
        raise MultipartError(f"the first part is {media_type[:50]!r}, not JSON")
    try:
        value = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MultipartError("the first part is no JSON object")


async def _last_part(reader: MultipartReader) -> AsyncIterator[bytes]:
    while piece := await reader.read():
        yield piece
    if not reader.is_last:
        raise MultipartError("more than two parts")
