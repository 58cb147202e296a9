"""What the server and a thumbnail worker say to each other.

A job carries two open files: the source and the place for the results. So the worker
needs no right to open anything (R35), and bytes never travel through the socket.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from mmr.thumbnailing.model import (
    BLURHASH_DIGITS,
    MAX_KEY_SAMPLES,
    BlurhashSize,
    ImageInfo,
    Refusal,
    RenderOptions,
    Sound,
)
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method
from mmr.util.confined.channel import ProtocolError

# The types of the fields of `ImageInfo` and `Part`.
_INFO = (int, int, str, bool, bool)
_MAX_BLURHASH = 4 + 2 * 9 * 9
_PART = (str, int, int, int, bool)


@attrs.frozen
class Job:
    """One source and everything wanted of it. No targets: only its `ImageInfo`.

    Attributes:
        describe: Somebody wants to know everything, not only the size.
        blurhash: And such a blurhash.
    """

    declared_type: str
    targets: tuple[TargetSize, ...]
    options: RenderOptions
    describe: bool = False
    blurhash: BlurhashSize | None = None

    def encode(self) -> dict[str, Any]:
        """As a message."""
        options = attrs.asdict(self.options)
        options["allowed_types"] = sorted(self.options.allowed_types)
        return {
            "declared_type": self.declared_type,
            "targets": [
                [t.width, t.height, t.method.value, t.animated, t.webp]
                for t in self.targets
            ],
            "options": options,
            "describe": self.describe,
            "blurhash": attrs.astuple(self.blurhash) if self.blurhash else None,
        }

    @classmethod
    def decode(cls, message: dict[str, Any]) -> Job:
        """From a message. The server is trusted, so nothing is checked."""
        options = message["options"]
        options["allowed_types"] = frozenset(options["allowed_types"])
        return cls(
            message["declared_type"],
            tuple(
                TargetSize(width, height, Method(method), *flags)
                for width, height, method, *flags in message["targets"]
            ),
            RenderOptions(**options),
            message["describe"],
            BlurhashSize(*message["blurhash"]) if message["blurhash"] else None,
        )


@attrs.frozen
class Part:
    """One thumbnail in the file of results."""

    content_type: str
    width: int
    height: int
    length: int
    animated: bool = False


@attrs.frozen
class Reply:
    """What became of a job.

    Attributes:
        info: The source; None when it was refused.
        parts: One for each target, in order; they lie one after another in the file.
        refusal: Why nothing came of it.
        detail: For the log.
    """

    info: ImageInfo | None = None
    parts: tuple[Part, ...] = ()
    refusal: Refusal | None = None
    detail: str = ""

    def encode(self) -> dict[str, Any]:
        """As a message."""
        return {
            "info": _info_fields(self.info) if self.info else None,
            "duration": self.info.duration if self.info else None,
            "sound": _sound_fields(self.info) if self.info else None,
            "blurhash": self.info.blurhash if self.info else None,
            "parts": [attrs.astuple(part) for part in self.parts],
            "refusal": self.refusal.value if self.refusal else None,
            "detail": self.detail[:200],
        }

    @classmethod
    def decode(cls, message: dict[str, Any], targets: int) -> Reply:
        """From a message. The worker may have been taken over: nothing is believed.

        Raises:
            ProtocolError: when the message is not a reply with so many parts.
        """
        try:
            if message["refusal"] is not None:
                return cls(
                    refusal=Refusal(message["refusal"]),
                    detail=repr(str(message["detail"])[:200]),
                )
            info = attrs.evolve(
                ImageInfo(*_typed(message["info"], _INFO)),
                duration=_seconds(message["duration"]),
                sound=_sound(message["sound"]),
                blurhash=_blurhash(message["blurhash"]),
            )
            parts = tuple(Part(*_typed(part, _PART)) for part in message["parts"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("not a reply") from error
        if len(parts) != targets or not _has_size(info):
            raise ProtocolError("not the reply to this job")
        return cls(info, parts)


def _info_fields(info: ImageInfo) -> tuple[object, ...]:
    return attrs.astuple(info, recurse=False)[: len(_INFO)]


def _sound_fields(info: ImageInfo) -> tuple[object, ...] | None:
    return attrs.astuple(info.sound) if info.sound else None


def _has_size(info: ImageInfo) -> bool:
    if info.content_type.startswith("audio/"):
        return info.width == info.height == 0
    return min(info.width, info.height) > 0


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, float) or not 0 <= value < math.inf:
        raise ValueError("wrong duration")
    return value


def _sound(values: Any) -> Sound | None:
    if values is None:
        return None
    samples, channels, pairs = _typed(values, (int, int, list))
    if len(pairs) > MAX_KEY_SAMPLES or min(samples, channels) < 0:
        raise ValueError("wrong sound")
    key_samples = tuple(tuple(_typed(pair, (float, float))) for pair in pairs)
    if not all(-1 <= value <= 1 for pair in key_samples for value in pair):
        raise ValueError("wrong samples")
    return Sound(samples, channels, key_samples)


def _blurhash(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 6 <= len(value) <= _MAX_BLURHASH:
        raise ValueError("wrong blurhash")
    if not set(value) <= set(BLURHASH_DIGITS):
        raise ValueError("wrong blurhash")
    return value


def _typed(values: Any, types: tuple[type, ...]) -> Any:
    if [type(value) for value in values] != list(types):
        raise ValueError("wrong types")
    return values
