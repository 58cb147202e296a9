"""BMP: a header of fixed places. It holds no metadata."""

from __future__ import annotations

import struct

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.model import Refusal, Refused

_CORE_HEADER = 12
_HEADERS = frozenset({_CORE_HEADER, 40, 52, 56, 64, 108, 124})


def read_bmp(data: bytes) -> Container:
    """Read the size; a negative height says that the upper row comes first.

    Raises:
        Refused: when there is no header that anybody writes.
    """
    if len(data) < 26:
        raise Refused(Refusal.BROKEN)
    (header,) = struct.unpack_from("<I", data, 14)
    if header not in _HEADERS:
        raise Refused(Refusal.BROKEN)
    shape = "<HH" if header == _CORE_HEADER else "<ii"
    width, height = struct.unpack_from(shape, data, 18)
    return Container(width, abs(height), data)
