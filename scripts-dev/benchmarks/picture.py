"""A 12 megapixel JPEG like a phone's, made by code, and copies that nobody has seen."""

from __future__ import annotations

import io
import os

from PIL import Image, ImageChops

_SIZE = (4000, 3000)
_COMMENT = b"\xff\xfe"


def phone_picture() -> bytes:
    """Make a picture with large areas, textures and grain: about 4.5 MB."""
    light = Image.radial_gradient("L").resize(_SIZE)
    for grain_pixels, spread in ((400, 60), (80, 45), (16, 35), (4, 25)):
        light = _mix(light, _texture(grain_pixels, spread))
    light = _mix(light, Image.effect_noise(_SIZE, 11))
    blue, red = _texture(500, 20), _texture(300, 15)
    output = io.BytesIO()
    Image.merge("YCbCr", (light, blue, red)).save(output, "JPEG", quality=87)
    return output.getvalue()


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


def _texture(grain_pixels: int, spread: float) -> Image.Image:
    width, height = _SIZE
    small = (width // grain_pixels, height // grain_pixels)
    noise = Image.effect_noise(small, spread)
    return noise.resize(_SIZE, Image.Resampling.BICUBIC)


def _mix(picture: Image.Image, noise: Image.Image) -> Image.Image:
    return ImageChops.add(picture, noise, 1, -128)
