"""The last look at a thumbnail, by the server itself, before it is stored (R39)."""

from __future__ import annotations

from mmr.thumbnailing.containers.jpeg import read_jpeg
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.model import ImageInfo, Refused
from mmr.thumbnailing.protocol import Part
from mmr.thumbnailing.sizes import TargetSize, fit
from mmr.thumbnailing.sniff import sniff

_READERS = {"image/jpeg": read_jpeg, "image/png": read_png}


def check_result(info: ImageInfo, target: TargetSize, part: Part, data: bytes) -> bool:
    """Whether the bytes are a picture of the right type and size.

    The header is read here without an image library: the worker that wrote it may
    have been taken over by the source.
    """
    placing = fit(info.width, info.height, target)
    wanted = placing.width, placing.height
    sniffed = sniff(data)
    if sniffed is None or sniffed.content_type != part.content_type:
        return False
    if len(data) != part.length or part.content_type not in _READERS:
        return False
    try:
        container = _READERS[part.content_type](data)
    except Refused:
        return False
    return (container.width, container.height) == (part.width, part.height) == wanted
