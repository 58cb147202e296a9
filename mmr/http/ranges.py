"""Ranges and conditions: which bytes of a media a client wants (RFC 9110 §13, §14)."""

from __future__ import annotations

import re

import attrs

# Longer numbers are past any size as well, but needn't be read to know it.
_RANGE = re.compile(rb"bytes=[ \t]*([0-9]{0,30})-([0-9]{0,30})[ \t]*\Z", re.IGNORECASE)
_MAX_CONDITION_BYTES = 4096


@attrs.frozen(slots=True)
class ByteRange:
    """Consecutive bytes of a representation.

    Attributes:
        start: The first.
        count: How many; 0 when the requested range has none of the bytes.
    """

    start: int
    count: int


def parse_range(value: bytes, size: int, open_bytes: int) -> ByteRange | None:
    """The range to send; None when the header is to be ignored (D21, R68).

    Args:
        value: The header.
        size: Bytes in all; at least one.
        open_bytes: At most as many for a range without an end
            (``downloads.defaultRangeChunkSizeBytes``); 0 for no such limit.
    """
    match = _RANGE.match(value)
    if match is None:
        return None
    first, last = match[1], match[2]
    if not first:
        if not last:
            return None
        count = min(int(last), size)
        return ByteRange(size - count, count)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return ByteRange(0, 0)
    if last:
        return ByteRange(start, min(int(last), size - 1) - start + 1)
    rest = size - start
    return ByteRange(start, min(rest, open_bytes) if open_bytes else rest)


def etag_matches(condition: bytes, etag: bytes) -> bool:
    """Whether ``If-None-Match`` names the quoted tag, strongly or weakly."""
    if condition == etag or condition == b"*":
        return True
    tags = condition[:_MAX_CONDITION_BYTES].split(b",")
    return any(tag.strip(b" \t").removeprefix(b"W/") == etag for tag in tags)
