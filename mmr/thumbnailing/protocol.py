"""What the server and a worker process say to each other.

Messages are JSON with a length in front, over a socket pair. A job carries two open
files: the source and the place for the results. So the worker needs no right to open
anything (R35), and bytes never travel through the socket.
"""

from __future__ import annotations

import array
import json
import math
import os
import socket
import struct
import time
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

MAX_MESSAGE = 64 * 1024
_LENGTH = struct.Struct("!I")


# The types of the fields of `ImageInfo` and `Part`.
_INFO = (int, int, str, bool, bool)
_MAX_BLURHASH = 4 + 2 * 9 * 9
_PART = (str, int, int, int, bool)


class ProtocolError(Exception):
    """The other side said something that makes no sense, or hung up."""


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


class Channel:
    """Messages over one end of a socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._deadline: float | None = None

    def limit(self, seconds: float) -> None:
        """From now on all that is sent and received together takes at most this."""
        self._deadline = time.monotonic() + seconds

    def _keep_to_deadline(self) -> socket.socket:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
        return self._socket

    def send(self, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        """Send a message and copies of open files.

        Raises:
            OSError: when the other side is gone or doesn't listen.
        """
        body = json.dumps(message).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        head = _LENGTH.pack(len(body))
        sock = self._keep_to_deadline()
        sock.sendmsg([head], rights if files else [])
        sock.sendall(body)

    def receive(self, max_files: int = 0) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its files; None when the other side has hung up.

        Raises:
            ProtocolError: when it is no message of ours.
            OSError: on a time-out, or when the connection breaks.
        """
        head, files = self._receive_head(max_files)
        if not head:
            return None
        try:
            (length,) = _LENGTH.unpack(head + self._receive_exactly(4 - len(head)))
            if length > MAX_MESSAGE:
                raise ProtocolError("message too long")
            message = json.loads(self._receive_exactly(length))
            if not isinstance(message, dict):
                raise ProtocolError("not a message")
        except (ProtocolError, ValueError, RecursionError) as error:
            for file in files:
                os.close(file)
            raise ProtocolError("not a message") from error
        return message, files

    def _receive_head(self, max_files: int) -> tuple[bytes, list[int]]:
        sock = self._keep_to_deadline()
        if not max_files:
            return sock.recv(4), []
        head, files, _, _ = socket.recv_fds(sock, 4, max_files)
        return head, files

    def _receive_exactly(self, length: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < length:
            piece = self._keep_to_deadline().recv(length - len(pieces))
            if not piece:
                raise ProtocolError("cut off")
            pieces += piece
        return bytes(pieces)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
