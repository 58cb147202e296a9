"""What a file is, by its leading bytes. A label never picks a decoder (R28)."""

from __future__ import annotations

import attrs

from mmr.thumbnailing.model import Refusal, Refused

SNIFF_BYTES = 4096

_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/apng": "image/png",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/heif": "image/heic",
    "application/ogg": "audio/ogg",
    "audio/aacp": "audio/aac",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/vnd.wave": "audio/wav",
    "audio/vorbis": "audio/ogg",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "video/x-m4v": "video/mp4",
}

# Containers that hold sound as well as pictures: here the label says which is meant.
_TWINS = {
    ("video/mp4", "audio"): "audio/mp4",
    ("video/webm", "audio"): "audio/webm",
    ("audio/mp4", "video"): "video/mp4",
    ("audio/ogg", "video"): "video/ogg",
}

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"MM\x00+", "image/tiff"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
)

_RIFF_FORMS = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}

_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}


@attrs.frozen
class Sniffed:
    """What the leading bytes say.

    Attributes:
        content_type: Without aliases: ``image/jpeg``, never ``image/jpg``.
        animated: More than one frame is announced (APNG, WebP; of a GIF only walking
            the file tells).
    """

    content_type: str
    animated: bool = False

    @property
    def family(self) -> str:
        """``image``, ``audio``, ``video`` or ``application``."""
        return self.content_type.partition("/")[0]


def plain_type(content_type: str) -> str:
    """A content type without parameters and aliases, in lower case."""
    bare = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(bare, bare)


def sniff(head: bytes) -> Sniffed | None:
    """Name the type of a file from its first `SNIFF_BYTES` bytes."""
    content_type = _by_magic(head) or _by_container(head) or _by_looks(head)
    if content_type is None:
        return None
    return Sniffed(content_type, _is_animated(content_type, head))


def check_type(
    head: bytes, declared_type: str, allowed_types: frozenset[str]
) -> Sniffed:
    """The sniffed type, when it may be thumbnailed under this label (R28).

    Raises:
        Refused: when the bytes are of no allowed type, or not of the declared family.
    """
    sniffed = sniff(head)
    declared_family = plain_type(declared_type).partition("/")[0]
    if sniffed is not None:
        twin = _TWINS.get((sniffed.content_type, declared_family))
        sniffed = Sniffed(twin) if twin else sniffed
    allowed = {plain_type(content_type) for content_type in allowed_types}
    if sniffed is None or sniffed.content_type not in allowed:
        raise Refused(Refusal.UNSUPPORTED)
    if sniffed.family != declared_family:
        raise Refused(Refusal.MISLABELLED)
    return sniffed


def _by_magic(head: bytes) -> str | None:
    for offset, magic, content_type in _MAGIC:
        if head.startswith(magic, offset):
            return content_type
    return None


def _by_container(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return _RIFF_FORMS.get(head[8:12])
    if head[4:8] != b"ftyp":
        return None
    major = _BRANDS.get(head[8:12])
    if head[8:12] not in (b"mif1", b"msf1"):
        return major or "video/mp4"
    # "mif1" says only "some image"; the compatible brands say which.
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[at : at + 4] for at in range(16, end - 3, 4)]
    return "image/avif" if b"avif" in brands or b"avis" in brands else major


def _by_looks(head: bytes) -> str | None:
    """Formats without a magic number."""
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # MPEG audio frame: a layer, a bit rate and a sample rate that exist.
        if head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
            return "audio/mpeg"
        # ADTS: no layer, and one of the 13 sample rates.
        if head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 0x0F < 13:
            return "audio/aac"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text
    ):
        return "image/svg+xml"
    return None


def _is_animated(content_type: str, head: bytes) -> bool:
    if content_type == "image/png":
        control, pixels = head.find(b"acTL"), head.find(b"IDAT")
        return control >= 0 and (pixels < 0 or control < pixels)
    if content_type == "image/webp":
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)
    return False
