"""Right colours from every way to store a pixel."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

# In the order of ICC's names for colour spaces, padded as in the file.
_MODE_OF_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")
_AVERAGED_MODES = ("L", "La", "RGB", "RGBa", "CMYK")
_MULTIPLIED = {"RGBA": "RGBa", "LA": "La"}
_STRAIGHT = {multiplied: straight for straight, multiplied in _MULTIPLIED.items()}
_HIGH_BYTE = [value >> 8 for value in range(65536)]


def for_resizing(image: Image.Image) -> Image.Image:
    """A decoded image in a mode that may be averaged.

    That is L, RGB, CMYK, or La and RGBa: alpha multiplied in, or the colour of
    invisible pixels would bleed into the edges. Palettes can't be averaged at all.
    """
    if is_for_resizing(image):
        return image
    plain = without_palette(image)
    return plain.convert(_MULTIPLIED.get(plain.mode, plain.mode))


def is_for_resizing(image: Image.Image) -> bool:
    """Whether an image is in such a mode as it is."""
    return image.mode in _AVERAGED_MODES and not _has_key(image)


def without_palette(image: Image.Image) -> Image.Image:
    """A decoded image with 8 bits a channel: L, LA, RGB, RGBA or CMYK."""
    if image.mode == "F":
        image = _from_floats(image)
    elif image.mode in ("I;16", "I;16B", "I"):
        image = _from_16_bit(image)
    elif image.mode == "P" or (image.mode == "RGB" and _has_key(image)):
        image = image.convert("RGBA" if _has_key(image) else "RGB")
    elif image.mode == "1" or (image.mode == "L" and _has_key(image)):
        image = image.convert("LA" if _has_key(image) else "L")
    return image if image.mode in _PLAIN_MODES else image.convert("RGB")


def for_the_screen(image: Image.Image, icc: bytes | None) -> Image.Image:
    """A resized image as sRGB: mode L or RGB, LA or RGBA if anything shines through.

    Nothing is in its metadata.
    """
    image = image.convert(_STRAIGHT.get(image.mode, image.mode))
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode.removesuffix("A")) if alpha else image
    colours = _to_srgb(colours, icc) if icc else colours
    if colours.mode == "CMYK":
        colours = colours.convert("RGB")
    if alpha and not _is_opaque(alpha):
        colours.putalpha(alpha)
    colours.info.clear()
    return colours


def _has_key(image: Image.Image) -> bool:
    """Whether a colour, or part of the palette, stands for transparency."""
    return "transparency" in image.info


def _is_opaque(alpha: Image.Image) -> bool:
    lowest, _ = alpha.getextrema()
    return lowest == 255


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Keep the high byte; the library's own conversion cuts off at 255."""
    key = image.info.get("transparency")
    wide = image.convert("I")
    grey = wide.point(_HIGH_BYTE, "L")
    if isinstance(key, int):
        grey.putalpha(wide.point([255 * (v != key) for v in range(65536)], "L"))
    return grey


def _from_floats(image: Image.Image) -> Image.Image:
    """Brightness from 0 to 1, as photo tools write it, or from 0 to 255."""
    brightest = image.getextrema()[1]
    assert isinstance(brightest, float)
    scale = 255.0 if brightest <= 1.0 else 1.0
    return image.point(lambda value: value * scale + 0.0).convert("L")


def _to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Apply a profile; a broken one, or one for other colours, is skipped (R32)."""
    transform = _transform(icc, image.mode)
    if transform is None:
        return image
    converted = transform.apply(image)
    return converted.convert("L") if image.mode == "L" else converted


@lru_cache(maxsize=2)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Building one takes longer than using it; the frames of an animation share it."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if _MODE_OF_SPACE.get(profile.profile.xcolor_space.ljust(4)) != mode:
            return None
        return ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB"
        )
    except (OSError, ImageCms.PyCMSError):
        return None
