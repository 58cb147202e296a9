"""Which formats can be drawn here, beyond those that Pillow always brings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

import attrs

from mmr.thumbnailing.programs import FAMILIES, find_programs


@attrs.frozen
class Codec:
    """A decoder that may be missing.

    Attributes:
        needs: The module that brings it.
        renderer: Module and class that use it; imported by workers only.
    """

    needs: str
    renderer: tuple[str, str]


OPTIONAL: Mapping[str, Codec] = MappingProxyType(
    {
        "image/avif": Codec(
            "PIL._avif", ("mmr.thumbnailing.renderers.avif", "AvifRenderer")
        ),
        "image/heic": Codec(
            "pillow_heif", ("mmr.thumbnailing.renderers.heic", "HeicRenderer")
        ),
        "image/jxl": Codec(
            "pyjpegxl", ("mmr.thumbnailing.renderers.jxl", "JxlRenderer")
        ),
    }
)


def describe() -> dict[str, bool]:
    """The optional formats, and whether they can be drawn here.

    Nothing is loaded: decoders have no business in the serving process (R33).
    """
    pictures = {
        name: find_spec(codec.needs) is not None for name, codec in OPTIONAL.items()
    }
    programs = {family.name: bool(find_programs(family)) for family in FAMILIES}
    return pictures | programs


def sentence() -> str:
    """The same for people: one line of a log."""
    found = describe()
    present = [name for name, is_there in found.items() if is_there]
    missing = [name for name, is_there in found.items() if not is_there]
    return (
        f"{', '.join(present) or 'none'}; not here: {', '.join(missing) or 'none'}; "
        f"PNG and WebP by {'libvips' if find_spec('pyvips') else 'Pillow'}"
    )
