"""Small audio and video files, made by ffmpeg when a test first asks."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND, Outcome
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import encoded

TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
}
ALL = RenderOptions(allowed_types=frozenset(TYPES.values()))
BOX = TargetSize(320, 240, Method.SCALE)

# Two seconds of red, then two of blue.
_PICTURES = (
    *("-f", "lavfi", "-i", "color=red:size=640x360:rate=10:duration=2"),
    *("-f", "lavfi", "-i", "color=blue:size=640x360:rate=10:duration=2"),
    *("-filter_complex", "concat=n=2:v=1:a=0", "-pix_fmt", "yuv420p"),
)
_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=3", "-ac", "2")


@functools.cache
def ffmpeg(ending: str, *options: str) -> bytes:
    """What ffmpeg writes to a file with this ending."""
    program = shutil.which("ffmpeg")
    assert program, "apt-get install ffmpeg"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"made.{ending}")
        subprocess.run([program, "-v", "error", *options, str(path)], check=True)
        return path.read_bytes()


def video(ending: str, *options: str) -> bytes:
    """Four seconds, 640 by 360."""
    return ffmpeg(ending, *_PICTURES, *options)


def audio(ending: str, *options: str) -> bytes:
    """Three seconds in stereo."""
    return ffmpeg(ending, *_SOUND, *options)


def audio_with_cover(cover: Image.Image) -> bytes:
    """An MP3 with a picture in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cover.png")
        path.write_bytes(encoded(cover, "PNG"))
        return ffmpeg(
            "mp3",
            *_SOUND[:4],
            *("-i", str(path), "-map", "0:a", "-map", "1:v", "-c:v", "copy"),
            *("-disposition:v", "attached_pic", "-id3v2_version", "3"),
        )


@contextmanager
def desk(limits: WorkerLimits | None = None) -> Iterator[Desk]:
    """A place with real workers."""
    with tempfile.TemporaryDirectory() as folder:
        place = Desk(WORKER_COMMAND, limits or WorkerLimits(), Path(folder))
        try:
            yield place
        finally:
            place.close()


def work(
    place: Desk,
    data: bytes,
    declared_type: str,
    *targets: TargetSize,
    options: RenderOptions = ALL,
) -> Outcome:
    """Have it drawn; without targets, described."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        job = Job(declared_type, targets, options, describe=not targets)
        return place.run(Path(file.name), job)
