"""What we ask of ffmpeg and ffprobe (R37). Runs in workers only.

The container is fixed by the leading bytes, so a playlist is never read as one; names
in the file can't make them open anything, because only the source is a file that may
be read, and there is no network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import attrs

from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.programs import run

LOOKED_AT_SECONDS = 30
"""Of a video; later frames are not shown."""
HEARD_SECONDS = 600
"""Of audio; what follows is not drawn."""
PCM_RATE = 8000
"""Samples a second that sound is decoded to."""

# So that a second try has time left (`programs.JOB_SECONDS`).
_PROBE_SECONDS = 3.0
_DECODE_SECONDS = 4.0
_DEMUXERS = {
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "mov",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/webm": "matroska",
    "video/mp4": "mov",
    "video/ogg": "ogg",
    "video/quicktime": "mov",
    "video/webm": "matroska",
}
TYPES = frozenset(_DEMUXERS)
_CODECS = (
    "h264,hevc,mpeg4,h263,mjpeg,png,prores,theora,vp8,vp9,av1,libdav1d,libaom-av1,"
    "aac,alac,flac,mp3,mp3float,opus,libopus,vorbis,pcm_u8,pcm_s16le,pcm_s16be,"
    "pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav"
)
_ENTRIES = (
    "format=duration:stream=index,codec_type,width,height,sample_aspect_ratio,"
    "sample_rate,channels:stream_disposition=attached_pic:stream_side_data=rotation"
)
# Of what the probe prints: a file can have thousands of streams.
_MAX_PROBED = 256 << 10


@attrs.frozen
class Probed:
    """What is in a file.

    Attributes:
        duration: Seconds, as the file has it; 0 when it doesn't say.
        size: Of the picture as a player shows it; None without a moving one.
        sample_rate: Of the sound, in Hz; 0 without any.
        channels: Of the sound.
        cover: The number of the stream that is a cover picture.
    """

    duration: float
    size: tuple[int, int] | None
    sample_rate: int
    channels: int
    cover: int | None


@attrs.frozen
class Media:
    """A source in the working directory.

    Attributes:
        path: Relative, and ours.
        content_type: By the leading bytes.
        max_pixels: Of one frame.
    """

    path: str
    content_type: str
    max_pixels: int

    def probe(self) -> Probed:
        """Look at the headers.

        Raises:
            Refused: when it can't be read as what it is.
        """
        arguments = [*self._limits(), "-show_entries", _ENTRIES, "-of", "json"]
        printed = run(
            "ffprobe", [*arguments, f"file:{self.path}"], seconds=_PROBE_SECONDS
        )
        if len(printed) > _MAX_PROBED:
            raise Refused(Refusal.BROKEN)
        return _read_probed(json.load(BytesIO(printed)))

    def frame(self, seconds: float, width: int, height: int) -> bytes:
        """One frame, turned upright and resized: RGB, a byte each.

        Args:
            seconds: Where to look, about.
            width: Of the result.
            height: The same.

        Raises:
            Refused: when nothing can be decoded.
        """
        at = ["-ss", f"{seconds:.3f}"]
        # Else the last key frame before: cheap where frames are large, and there even
        # where the film is shorter than it says. Else the first.
        key_frame = ["-noaccurate_seek", *at], ["-fps_mode", "passthrough"]
        reason = Refusal.BROKEN
        for seek, keep in ((at, []), key_frame, ([], [])):
            try:
                picture = self._decode(
                    [*seek, "-t", str(LOOKED_AT_SECONDS)],
                    ["-map", "0:V:0", "-an", "-sn", "-dn", "-frames:v", "1", *keep],
                    ["-vf", f"scale={width}:{height}:flags=area,setsar=1"],
                    ["-pix_fmt", "rgb24", "-c:v", "rawvideo", "-f", "rawvideo"],
                )
            except Refused as refused:
                reason = refused.reason
                continue
            if len(picture) == 3 * width * height:
                return picture
        raise Refused(reason)

    def cover(self, stream: int) -> bytes:
        """The cover picture, as it is in the file."""
        return self._decode(
            [],
            ["-map", f"0:{stream}", "-frames:v", "1"],
            ["-c:v", "copy", "-f", "image2pipe"],
            seconds=_PROBE_SECONDS,
        )

    def pcm(self, channels: int) -> bytes:
        """The sound's beginning: 16 bits, native order, channels interleaved."""
        return self._decode(
            ["-t", str(HEARD_SECONDS)],
            ["-map", "0:a:0", "-vn", "-sn", "-dn"],
            ["-ac", str(channels), "-ar", str(PCM_RATE)],
            ["-c:a", "pcm_s16le", "-f", "s16le"],
        )

    def _decode(
        self,
        input_options: list[str],
        *output_options: list[str],
        seconds: float = _DECODE_SECONDS,
    ) -> bytes:
        flat = [option for part in output_options for option in part]
        arguments = [
            "-nostdin",
            *self._limits(),
            *input_options,
            "-i",
            f"file:{self.path}",
            "-filter_threads",
            "1",
            "-threads",
            "1",
            *flat,
            "pipe:1",
        ]
        return run("ffmpeg", arguments, seconds=seconds)

    def _limits(self) -> list[str]:
        demuxer = _DEMUXERS[self.content_type]
        # Other files that a MOV names stay closed.
        references = ["-enable_drefs", "0"] if demuxer == "mov" else []
        return [
            *("-v", "quiet", "-threads", "1"),
            *("-max_pixels", str(self.max_pixels)),
            *("-protocol_whitelist", "file"),
            *("-format_whitelist", demuxer),
            *("-codec_whitelist", _CODECS),
            *references,
            *("-f", demuxer),
        ]


def _read_probed(found: Mapping[str, Any]) -> Probed:
    """All of it is a stranger's; whatever doesn't fit raises."""
    streams = found.get("streams", [])
    covers = [s for s in streams if _is_cover(s)]
    pictures = [
        s for s in streams if s.get("codec_type") == "video" and not _is_cover(s)
    ]
    sounds = [s for s in streams if s.get("codec_type") == "audio"]
    duration = float(found.get("format", {}).get("duration", 0))
    return Probed(
        duration if math.isfinite(duration) and duration > 0 else 0.0,
        _shown_size(pictures[0]) if pictures else None,
        int(sounds[0].get("sample_rate", 0)) if sounds else 0,
        int(sounds[0].get("channels", 0)) if sounds else 0,
        int(covers[0]["index"]) if covers else None,
    )


def _is_cover(stream: Mapping[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _shown_size(stream: Mapping[str, Any]) -> tuple[int, int]:
    """With the pixels made square and the picture turned upright."""
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    across, _, down = str(stream.get("sample_aspect_ratio", "1:1")).partition(":")
    if across.isdecimal() and down.isdecimal() and 0 < int(down) < 100 * int(across):
        width = round(width * min(int(across) / int(down), 100.0))
    turns = [int(data.get("rotation", 0)) for data in stream.get("side_data_list", [])]
    return (height, width) if any(turn % 180 for turn in turns) else (width, height)
