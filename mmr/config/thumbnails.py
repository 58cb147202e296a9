"""``thumbnails``: which pictures get one, of which size, at what cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from mmr.config._base import Mark, Section, setting
from mmr.config._values import (
    Flag,
    Int,
    Named,
    Natural,
    Positive,
    Share,
    Text,
    expected,
    workers,
)
from mmr.config.downloads import WORKERS_WHEN_UNLIMITED


class SizeConfig(Section):
    """A size that thumbnails are made in."""

    width: Positive = setting(..., "Width in pixels.", 768)
    height: Positive = setting(..., "Height in pixels.", 240)


def _some(sizes: tuple[SizeConfig, ...]) -> tuple[SizeConfig, ...]:
    if not sizes:
        raise expected("at least one size")
    return sizes


DEFAULT_SIZES = tuple(
    SizeConfig(width=width, height=height)
    for width, height in ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
)
DEFAULT_TYPES = ("image/jpeg", "image/jpg", "image/png", "image/gif")
MimeType = Annotated[Text, AfterValidator(str.lower), Named("MIME type")]


class ThumbnailsConfig(Section):
    """Small pictures of media."""

    max_source_bytes: Natural = setting(
        10485760, "Largest source in bytes; 0: no limit.", 20971520
    )
    max_pixels: Natural = setting(
        32000000, "Sources of so many pixels (width × height) are refused.", 64000000
    )
    types: tuple[MimeType, ...] = setting(
        DEFAULT_TYPES, "Types that get thumbnails.", ["image/jpeg", "image/webp"]
    )
    max_animate_size_bytes: Natural = setting(
        10485760,
        "Larger animated sources become a still picture; 0: no limit.",
        5242880,
    )
    sizes: Annotated[tuple[SizeConfig, ...], AfterValidator(_some)] = setting(
        DEFAULT_SIZES,
        "The sizes. A request gets the one that it names, else the smallest that is no"
        " smaller, else the largest.",
        [{"width": 32, "height": 32}, {"width": 768, "height": 240}],
    )
    dynamic_sizing: Flag = setting(
        False, "Make the size that is asked for, up to the largest of `sizes`.", True
    )
    allow_animated: Flag = setting(True, "Animated sources may stay animated.", False)
    default_animated: Flag = setting(
        False, "Animated when the request doesn't say.", True
    )
    still_frame: Share = setting(
        0.5, "Which frame becomes the still picture: 0 the first, 1 the last.", 0
    )
    webp: Flag = setting(False, "Send WebP to clients that say they take it.", True)
    num_workers: Annotated[Int, workers(WORKERS_WHEN_UNLIMITED)] = setting(
        10,
        "Thumbnails made at the same time; 0 or less takes 100.",
        4,
        Mark.MAIN_ONLY,
    )
    expire_after_days: Int = setting(
        0,
        "Thumbnails older than this are removed; 0 or less: never.",
        30,
        Mark.MAIN_ONLY,
    )
