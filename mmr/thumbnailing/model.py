"""What goes into a render and what comes out of it."""

from __future__ import annotations

import enum

import attrs

from mmr.errors import MatrixError, too_large, unavailable

MAX_SIDE = 65_500
"""Pixels; what JPEG can hold, and more than anybody's camera has (R30)."""
MAX_FRAMES = 500
"""Frames of an animation that are looked at (R31)."""
FRAME_BUDGET = 4
"""All frames together may have so many times ``maxPixels`` pixels (R31)."""
MAX_ANIMATION_MS = 600_000
"""A longer animation becomes a still picture: nobody watches it as a thumbnail."""
BLURHASH_DIGITS = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "#$%*+,-.:;=?@[]^_{|}~"
)
MAX_KEY_SAMPLES = 768
"""Of one audio file, in its information (mmr-http-api §8.7)."""
MAX_METADATA_BYTES = 1 << 20
"""Of one EXIF, ICC or text block; a larger one is skipped (R32)."""

STILL_TYPES = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/bmp",
        "image/tiff",
        "image/heic",
        "image/avif",
    }
)
"""Picture formats that are safe enough to be on; JPEG XL is not one (R38)."""
WEB_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""What a thumbnail may be (matrix-media-spec §5.1)."""


class Refusal(enum.Enum):
    """Why there is no thumbnail. The values travel between the processes."""

    UNSUPPORTED = "unsupported"
    MISLABELLED = "mislabelled"
    BROKEN = "broken"
    TOO_LARGE = "too_large"
    CRASHED = "crashed"
    # The server's fault, not the source's: its disk is full (R97).
    NO_ROOM = "no_room"


_SENTENCES = {
    Refusal.UNSUPPORTED: "Media of this type cannot be thumbnailed",
    Refusal.MISLABELLED: "The media is not of the type that it claims to be",
    Refusal.BROKEN: "The media is damaged and cannot be thumbnailed",
    Refusal.CRASHED: "The media cannot be thumbnailed within the server's limits",
}


class Refused(Exception):
    """Raised inside a worker: this source gets no thumbnail."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class CannotThumbnail(MatrixError):
    """400 ``M_UNKNOWN``: the media is of a kind, or in a state, that we don't draw.

    Always a 4xx: a bad file is never the server's fault (D7).
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(400, "M_UNKNOWN", _SENTENCES[reason], "M_BAD_REQUEST")
        self.reason = reason


def refusal_error(reason: Refusal) -> MatrixError:
    """The error that a client gets for a refusal: 413 for size, else 400.

    503 for what isn't the source's fault.
    """
    if reason is Refusal.NO_ROOM:
        return unavailable("The server has no room for thumbnails at the moment")
    return too_large() if reason is Refusal.TOO_LARGE else CannotThumbnail(reason)


@attrs.frozen
class RenderOptions:
    """The operator's settings, per homeserver (the ``thumbnails`` section).

    Attributes:
        max_pixels: A frame must have fewer.
        max_source_bytes: Larger originals are refused.
        still_frame: Which frame stands for an animation, 0 to 1.
        allowed_types: Content types that may be thumbnailed (``thumbnails.types``).
    """

    max_pixels: int = 32_000_000
    max_source_bytes: int = 10_485_760
    still_frame: float = 0.5
    allowed_types: frozenset[str] = STILL_TYPES


@attrs.frozen
class BlurhashSize:
    """How a blurhash is made (``featureSupport.MSC2448``).

    Attributes:
        width: Of the picture that is hashed, in pixels.
        height: The same.
        across: Components, 1 to 9.
        down: The same.
    """

    width: int
    height: int
    across: int
    down: int


@attrs.frozen
class Sound:
    """What an audio player draws (MSC2380).

    Attributes:
        samples: In each channel.
        channels: As in the source.
        key_samples: Left and right, -1 to 1, evenly spread; `MAX_KEY_SAMPLES` at most.
    """

    samples: int
    channels: int
    key_samples: tuple[tuple[float, float], ...]


@attrs.frozen
class ImageInfo:
    """What is known of a source without decoding its pixels.

    Attributes:
        width: Pixels, as a viewer shows it (after the EXIF rotation, D57). 0 for audio,
            which is drawn in the size that is asked for.
        height: The same.
        content_type: By the leading bytes, not the label.
        is_animated: It has more than one frame.
        can_animate: And we can draw it so: a format that we write, within the budget
            of frames, pixels and time (R31).
        duration: Seconds, of audio and video.
        sound: Of audio, when a description was asked for.
        blurhash: When it was asked for.
    """

    width: int
    height: int
    content_type: str
    is_animated: bool = False
    can_animate: bool = False
    duration: float | None = None
    sound: Sound | None = None
    blurhash: str | None = None


@attrs.frozen
class Rendered:
    """A finished thumbnail, checked (R39)."""

    content_type: str
    width: int
    height: int
    data: bytes = attrs.field(repr=False)
    animated: bool = False
