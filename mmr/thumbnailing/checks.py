"""The last look at a thumbnail, by the server itself, before it is stored (R39)."""

from __future__ import annotations

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.gif import read_gif
from mmr.thumbnailing.containers.jpeg import read_jpeg
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.containers.webp import read_webp
from mmr.thumbnailing.model import ImageInfo, Refused
from mmr.thumbnailing.protocol import Part
from mmr.thumbnailing.sizes import TargetSize, fit
from mmr.thumbnailing.sniff import sniff


def check_result(info: ImageInfo, target: TargetSize, part: Part, data: bytes) -> bool:
    """Whether the bytes are a picture of the right type and size.

    The file is read here without an image library, from its header to its end: the
    worker that wrote it may have been taken over by the source.
    """
    own_size = info.width or target.width, info.height or target.height
    placing = fit(*own_size, target)
    wanted = placing.width, placing.height
    sniffed = sniff(data)
    if sniffed is None or sniffed.content_type != part.content_type:
        return False
    if len(data) != part.length or (part.animated and not target.animated):
        return False
    try:
        container = _read(part, data)
    except Refused:
        return False
    if container is None or part.animated != (container.frames > 1):
        return False
    return (container.width, container.height) == (part.width, part.height) == wanted


def _read(part: Part, data: bytes) -> Container | None:
    """The container; None for a type that no thumbnail has."""
    match part.content_type:
        case "image/jpeg":
            return read_jpeg(data)
        case "image/png":
            return read_png(data)
        case "image/webp":
            return read_webp(data)
        case "image/gif":
            return read_gif(data, max_pixels=part.width * part.height + 1)
    return None
