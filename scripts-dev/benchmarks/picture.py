"""A 12 megapixel JPEG like a phone's, made by code, and copies that nobody has seen."""

from __future__ import annotations

import io
import os

from PIL import Image, ImageChops

Size = tuple[int, int]

_SIZE = (4000, 3000)
_COMMENT = b"\xff\xfe"


def phone_picture() -> bytes:
    """Make a picture with large areas and textures, as of a bright day: 2.6 MB."""
    output = io.BytesIO()
    scene(_SIZE, 3).convert("RGB").save(output, "JPEG", quality=85)
    return output.getvalue()


def grainy_picture() -> bytes:
    """Make the same as of a dark day: 4.5 MB, most of them grain."""
    output = io.BytesIO()
    scene(_SIZE, 11).save(output, "JPEG", quality=87)
    return output.getvalue()


def scene(size: Size, grain: float) -> Image.Image:
    """Paint large areas and textures, and grain as of a dark or a bright day."""
    light = Image.radial_gradient("L").resize(size)
    for grain_pixels, spread in ((400, 60), (80, 45), (16, 35), (4, 25)):
        light = _mix(light, _texture(size, grain_pixels, spread))
    light = _mix(light, Image.effect_noise(size, grain))
    blue, red = _texture(size, 500, 20), _texture(size, 300, 15)
    return Image.merge("YCbCr", (light, blue, red))


def small_picture() -> bytes:
    """Make a picture as pages show them in previews: about 50 KB."""
    light = Image.radial_gradient("L").resize((1200, 630))
    grain = Image.effect_noise((1200, 630), 20)
    output = io.BytesIO()
    _mix(light, grain).save(output, "JPEG", quality=60)
    return output.getvalue()


def unseen_copy(picture: bytes) -> bytes:
    """Give the same picture as a file with another hash, by a comment in its head."""
    text = os.urandom(16).hex().encode()
    segment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
    return picture[:2] + segment + picture[2:]


def _texture(size: Size, grain_pixels: int, spread: float) -> Image.Image:
    small = (size[0] // grain_pixels, size[1] // grain_pixels)
    noise = Image.effect_noise(small, spread)
    return noise.resize(size, Image.Resampling.BICUBIC)


def _mix(picture: Image.Image, noise: Image.Image) -> Image.Image:
    return ImageChops.add(picture, noise, 1, -128)
