"""Whether every type that shall have thumbnails can have them."""

from __future__ import annotations

from mmr.config import Config
from mmr.doctor.finding import Finding, fault, good
from mmr.thumbnailing.codecs import OPTIONAL, describe
from mmr.thumbnailing.programs import family_of

INSTALL = {
    "image/avif": "pip install --upgrade Pillow",
    "image/heic": "pip install 'mmr[codecs]'",
    "image/jxl": "pip install 'mmr[jxl]'",
    "audio and video": "apt-get install ffmpeg",
    "SVG": "apt-get install librsvg2-bin",
    "PDF": "apt-get install poppler-utils",
}
_ALIASES = {"image/heif": "image/heic"}


def check_formats(config: Config) -> list[Finding]:
    """The types of ``thumbnails.types`` against what is installed."""
    there = describe()
    sections = (config, *config.domains.values())
    wanted = {
        _needed(name) for section in sections for name in section.thumbnails.types
    }
    missing = sorted(name for name in wanted if name and not there[name])
    if not missing:
        return [good("formats", "every type of thumbnails.types can be drawn")]
    return [
        fault(
            "formats",
            f"{name}: thumbnails.types wants it, but what draws it is not installed",
            f"{INSTALL[name]} (then restart), or take it from thumbnails.types",
        )
        for name in missing
    ]


def _needed(content_type: str) -> str | None:
    """What of `describe` the type needs; None when it needs nothing of it."""
    family = family_of(content_type)
    if family is not None:
        return family.name
    name = _ALIASES.get(content_type, content_type)
    return name if name in OPTIONAL else None
