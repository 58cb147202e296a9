"""Awkward images, made by code, and ways to compare pictures."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pillow_heif
import pyjpegxl
from PIL import Image, ImageCms, ImageDraw, ImageFilter

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = (RED, GREEN, BLUE, WHITE)
"""Upper left, upper right, lower left, lower right."""


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """The image as a file."""
    if format == "JXL":
        return _as_jxl(image, **options)
    output = BytesIO()
    image.save(output, format, **options)
    return output.getvalue()


def _as_jxl(image: Image.Image, **options: object) -> bytes:
    pixels, channels = image.tobytes(), len(image.getbands())
    return pyjpegxl.encode(pixels, *image.size, num_channels=channels, **options)


def opened(data: bytes) -> Image.Image:
    """The file as a decoded image."""
    if data.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")):
        found, pixels = pyjpegxl.decode(data, dtype="uint8")
        return Image.frombytes("RGB", (found.width, found.height), pixels)
    # Of two plug-ins that take AVIF, only Pillow's own can decode it.
    formats = ["AVIF"] if data[8:12] == b"avif" else None
    image = Image.open(BytesIO(data), formats=formats)
    image.load()
    return image


def quadrants(width: int = 400, height: int = 300) -> Image.Image:
    """Four colours, one a corner: shows every flip, turn and swapped channel."""
    image = Image.new("RGB", (width, height))
    pencil = ImageDraw.Draw(image)
    for index, colour in enumerate(CORNERS):
        left, upper = index % 2 * width // 2, index // 2 * height // 2
        box = (left, upper, left + width // 2, upper + height // 2)
        pencil.rectangle(box, fill=colour)
    return image


def photo(width: int = 1600, height: int = 1200) -> Image.Image:
    """Smooth areas, edges and texture, so that resampling faults can be seen."""
    texture = Image.effect_noise((width // 8, height // 8), 90).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    image = Image.merge(
        "RGB",
        (
            texture,
            Image.linear_gradient("L").resize((width, height)),
            texture.filter(ImageFilter.GaussianBlur(20)),
        ),
    )
    pencil = ImageDraw.Draw(image)
    for step in range(0, width, 37):
        pencil.line((step, 0, width - step, height), fill=(step % 256, 40, 200))
        pencil.ellipse((step, step // 2, step + 90, step // 2 + 70), outline="white")
    return image


def corner_colours(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours a quarter in from each corner, in the order of `CORNERS`."""
    straight = image.convert("RGB")
    width, height = straight.size
    return [
        straight.getpixel((x, y))
        for y in (height // 4, height * 3 // 4)
        for x in (width // 4, width * 3 // 4)
    ]


def is_near(found: tuple[int, ...], wanted: tuple[int, ...], slack: int = 12) -> bool:
    """Whether two colours look alike; codecs are not exact."""
    return all(abs(a - b) <= slack for a, b in zip(found, wanted, strict=True))


def similarity(one: Image.Image, other: Image.Image) -> float:
    """SSIM of the brightness, over blocks of 8 by 8 pixels."""
    assert one.size == other.size
    left, right = one.convert("L"), other.convert("L")
    scores = []
    for upper in range(0, one.height - 7, 8):
        for start in range(0, one.width - 7, 8):
            box = (start, upper, start + 8, upper + 8)
            scores.append(_block_ssim(left.crop(box), right.crop(box)))
    return sum(scores) / len(scores)


def _block_ssim(one: Image.Image, other: Image.Image) -> float:
    a, b = one.tobytes(), other.tobytes()
    count = len(a)
    mean_a, mean_b = sum(a) / count, sum(b) / count
    var_a = sum(x * x for x in a) / count - mean_a**2
    var_b = sum(x * x for x in b) / count - mean_b**2
    covariance = sum(x * y for x, y in zip(a, b, strict=True)) / count - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )


def exif_block(orientation: int, *, extra: bytes = b"") -> bytes:
    """An EXIF block with this orientation, and maybe more behind it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPS latitude
    exif[0x010E] = "SECRETPLACE"
    return exif.tobytes() + extra


def oriented(image: Image.Image, orientation: int) -> Image.Image:
    """The stored picture that a viewer turns back into this one."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(undo[orientation]) if orientation in undo else image


def swapped_primaries_profile() -> bytes:
    """A profile in which a file's red is green on the screen: red and green swapped."""
    profile = bytearray(
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    count = struct.unpack_from(">I", profile, 128)[0]
    at = {}
    for index in range(count):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        at[name] = offset
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    profile[red : red + 20], profile[green : green + 20] = (
        profile[green : green + 20],
        profile[red : red + 20],
    )
    return bytes(profile)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png_with(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks, right behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header claims any size."""
    data = encoded(Image.new("RGB", (16, 16)), "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def gif_claiming(width: int, height: int) -> bytes:
    """A small GIF whose canvas claims any size."""
    data = encoded(Image.new("P", (16, 16)), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def webp_claiming(width: int, height: int) -> bytes:
    """A small WebP whose header claims any size up to 16,384."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP"))
    at = data.index(b"\x9d\x01\x2a")
    struct.pack_into("<HH", data, at + 3, width, height)
    return bytes(data)


def jpeg_with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, right behind its start."""
    head = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2)
    return data[:2] + head + body + data[2:]


def gif_of(colours: list[tuple[int, int, int]], size: tuple[int, int]) -> bytes:
    """An animation of plain frames."""
    frames = [Image.new("RGB", size, colour) for colour in colours]
    return encoded(
        frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50
    )


def raw_gif(frames: int, size: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF of equal frames that claim a size and hold one pixel."""
    one = encoded(Image.new("P", (1, 1)), "GIF")
    at = one.index(b"\x2c")
    palette = b"\x00\x00\x00\xff\xff\xff"
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + palette
    body = one[at:-1]
    picture = body[:5] + struct.pack("<HH", *frame) + body[9:]
    return head + picture * frames + b"\x3b"


_ENCODINGS: dict[str, tuple[str, dict[str, object]]] = {
    "image/avif": ("AVIF", {"quality": 90, "speed": 10}),
    "image/bmp": ("BMP", {}),
    "image/gif": ("GIF", {}),
    "image/heic": ("HEIF", {"quality": 90}),
    "image/jpeg": ("JPEG", {"quality": 90}),
    "image/jxl": ("JXL", {"quality": 90.0}),
    "image/png": ("PNG", {}),
    "image/tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "image/webp": ("WEBP", {"quality": 90}),
}


def sample(content_type: str, picture: Image.Image) -> bytes:
    """A good file of a type that is thumbnailed."""
    format, options = _ENCODINGS[content_type]
    return encoded(picture, format, **options)


def samples(picture: Image.Image | None = None) -> dict[str, bytes]:
    """One good file of every type that is thumbnailed, by content type.

    Args:
        picture: What is on it; without one, of a GIF there are frames.
    """
    found = {
        content_type: sample(content_type, picture or quadrants(160, 120))
        for content_type in _ENCODINGS
    }
    if picture is None:
        found["image/gif"] = gif_of([RED, GREEN, BLUE], (160, 120))
    return found
