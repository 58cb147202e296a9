"""Frames of videos, drawn by real workers."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from mmr.thumbnailing import ffmpeg as ffmpeg_module
from mmr.thumbnailing import programs
from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.programs import AUDIO_VIDEO, find_programs
from mmr.thumbnailing.renderers import renderer_for
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.thumbnailing.images import BLUE, RED, is_near, opened
from tests.thumbnailing.media_files import ALL, BOX, TYPES, audio, desk, video, work

_HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n"
_FTYP = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"


@pytest.fixture(scope="module")
def place() -> Iterator[Desk]:
    with desk() as place:
        yield place


@pytest.mark.parametrize("ending", ["mp4", "mov", "webm"])
def test_a_video_is_shown_by_one_of_its_frames(place: Desk, ending: str) -> None:
    crop = TargetSize(96, 96, Method.CROP)
    outcome = work(place, video(ending), TYPES[ending], BOX, crop)

    assert (outcome.info.width, outcome.info.height) == (640, 360)
    sizes = [(each.width, each.height) for each in outcome.rendered]
    assert sizes == [(320, 180), (96, 96)]
    assert {each.content_type for each in outcome.rendered} == {"image/jpeg"}


@pytest.mark.parametrize(
    ("still_frame", "colour"), [(0.0, RED), (0.9, BLUE), (1.0, BLUE)]
)
def test_the_still_frame_setting_says_where_to_look(
    place: Desk, still_frame: float, colour: tuple[int, int, int]
) -> None:
    options = attrs.evolve(ALL, still_frame=still_frame)
    (drawn,) = work(place, video("mp4"), "video/mp4", BOX, options=options).rendered

    pixel = opened(drawn.data).convert("RGB").getpixel((100, 90))
    assert is_near(pixel, colour, 12)


def test_a_video_that_was_filmed_upright_is_shown_upright(place: Desk) -> None:
    one = 1 << 16
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    # The first of these matrices is the film's, the second the track's.
    head, track, rest = video("mov").split(upright, 2)
    data = head + upright + track + turned + rest
    outcome = work(place, data, "video/quicktime", BOX)

    assert (outcome.info.width, outcome.info.height) == (360, 640)
    assert (outcome.rendered[0].width, outcome.rendered[0].height) == (135, 240)


def test_a_frame_is_found_where_the_file_says_more_than_it_has(place: Desk) -> None:
    data = video("mp4", "-movflags", "+faststart")
    # The duration of the film and of the track: 4 s in milliseconds become 30.
    longer = data.replace(struct.pack(">I", 4000), struct.pack(">I", 30_000), 2)
    assert longer != data
    options = attrs.evolve(ALL, still_frame=1.0)
    (drawn,) = work(place, longer, "video/mp4", BOX, options=options).rendered

    pixel = opened(drawn.data).convert("RGB").getpixel((100, 90))
    assert is_near(pixel, BLUE, 12)


def test_a_frame_that_takes_too_long_is_replaced_by_a_cheap_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R37."""
    asked = []

    def slow(name: str, arguments: list[str], *, seconds: float) -> bytes:
        asked.append("-noaccurate_seek" in arguments)
        if not asked[-1]:
            raise Refused(Refusal.CRASHED)
        return bytes(300)

    monkeypatch.setattr(ffmpeg_module, "run", slow)
    media = ffmpeg_module.Media("source", "video/mp4", 1000)

    assert media.frame(20.0, 10, 10) == bytes(300)
    assert asked == [False, True]


def test_pixels_that_are_not_square_are_made_so(place: Desk) -> None:
    wide = video("mp4", "-aspect", "32:9")

    assert work(place, wide, "video/mp4").info.width == 1280


def test_a_video_tells_its_size_and_duration(place: Desk) -> None:
    info = work(place, video("mp4"), "video/mp4").info

    assert (info.width, info.height) == (640, 360)
    assert info.duration == pytest.approx(4.0, abs=0.2)


def test_frames_past_the_limit_of_pixels_are_refused(place: Desk) -> None:
    """R30."""
    options = attrs.evolve(ALL, max_pixels=640 * 360)
    with pytest.raises(Refused) as caught:
        work(place, video("mp4"), "video/mp4", BOX, options=options)

    assert caught.value.reason is Refusal.TOO_LARGE


def test_types_that_are_not_listed_are_not_looked_at(place: Desk) -> None:
    """R28."""
    options = attrs.evolve(ALL, allowed_types=frozenset({"image/png"}))
    with pytest.raises(Refused) as caught:
        work(place, video("mp4"), "video/mp4", BOX, options=options)

    assert caught.value.reason is Refusal.UNSUPPORTED


def test_a_video_under_the_label_of_a_picture_is_refused(place: Desk) -> None:
    """R28."""
    with pytest.raises(Refused) as caught:
        work(place, video("mp4"), "image/png", BOX)

    assert caught.value.reason is Refusal.MISLABELLED


@pytest.mark.parametrize("cut", [0.02, 0.3])
def test_a_damaged_video_costs_an_error(place: Desk, cut: float) -> None:
    whole = video("mp4")
    with pytest.raises(Refused) as caught:
        work(place, whole[: int(len(whole) * cut)], "video/mp4", BOX)

    assert caught.value.reason is Refusal.BROKEN


def test_sound_alone_is_no_video(place: Desk) -> None:
    with pytest.raises(Refused) as caught:
        work(place, audio("m4a", "-brand", "isom"), "video/mp4", BOX)

    assert caught.value.reason is Refusal.BROKEN


def _playlists(canary: str) -> dict[str, bytes]:
    hls = _HLS % canary.encode()
    concat = f"ffconcat version 1.0\nfile '{canary}'\n".encode()
    dash = f'<?xml version="1.0"?><MPD><BaseURL>{canary}</BaseURL></MPD>'.encode()
    lists = {"hls": hls, "concat": concat, "dash": dash}
    return lists | {f"{name} in a box": _FTYP + body for name, body in lists.items()}


@pytest.mark.parametrize("name", sorted(_playlists("")))
def test_a_playlist_is_no_video_and_reaches_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R37. Without any confinement: what we tell ffmpeg has to be enough."""
    monkeypatch.chdir(tmp_path)
    canary_file = tmp_path / "canary.mp4"
    canary_file.write_bytes(video("mp4"))
    programs.allow(find_programs(AUDIO_VIDEO))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        for canary in (str(canary_file), f"http://127.0.0.1:{port}/x.mp4"):
            data = _playlists(canary)[name]
            with pytest.raises(Refused):
                list(renderer_for("video/mp4").render(data, [BOX], ALL))
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not (tmp_path / "source").exists()


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def with_its_track_elsewhere(film: bytes, name: bytes) -> bytes:
    """A film whose pictures are in another file, which it names as QuickTime did."""
    path = b"vol:" + name
    alias = bytes(10) + b"\3vol" + bytes(24) + bytes(12 + 64 + 16)
    alias += struct.pack(">2H", 1, 1) + bytes(16)
    alias += struct.pack(">2H", 2, len(path)) + path + struct.pack(">hH", -1, 0)
    inside, outside = _box(b"url ", b"\0\0\0\1"), _box(b"alis", bytes(4) + alias)
    data = bytearray(film)
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.index(kind) - 4
        (size,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(outside) - len(inside))
    return bytes(data).replace(inside, outside)


def test_another_file_that_a_film_names_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R37. Without any confinement."""
    monkeypatch.chdir(tmp_path)
    programs.allow(find_programs(AUDIO_VIDEO))
    # Who opens it waits for ever for somebody who writes.
    os.mkfifo("canary.mov")
    film = with_its_track_elsewhere(video("mov"), b"canary.mov")
    Path("film.mov").write_bytes(film)
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg
    lured = [ffmpeg, "-v", "quiet", "-enable_drefs", "1", "-i", "film.mov"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([*lured, "-f", "null", "-"], timeout=1, check=False)

    with pytest.raises(Refused) as caught:
        list(renderer_for("video/quicktime").render(film, [BOX], ALL))
    # It has no pictures of its own; who waits is killed, which is another reason.
    assert caught.value.reason is Refusal.BROKEN


def test_a_playlist_is_refused_by_its_first_bytes(place: Desk) -> None:
    """R28, R37."""
    with pytest.raises(Refused) as caught:
        work(place, _playlists("/etc/passwd")["hls"], "video/mp4", BOX)

    assert caught.value.reason is Refusal.UNSUPPORTED


def test_ffmpeg_is_told_what_it_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """R36, R37: every argument is ours."""
    asked: list[list[str]] = []

    def spy(name: str, arguments: list[str], *, seconds: float) -> bytes:
        asked.append([name, *arguments])
        return b'{"streams": []}'

    monkeypatch.setattr(ffmpeg_module, "run", spy)
    media = ffmpeg_module.Media("source", "video/mp4", 1000)
    media.probe()
    with pytest.raises(Refused):
        media.frame(1.0, 10, 10)

    for arguments in asked:
        pairs = set(itertools.pairwise(arguments))
        assert {
            ("-f", "mov"),
            ("-protocol_whitelist", "file"),
            ("-format_whitelist", "mov"),
            ("-enable_drefs", "0"),
            ("-threads", "1"),
            ("-max_pixels", "1000"),
        } <= pairs
        assert "file:source" in arguments
    assert asked[1][:2] == ["ffmpeg", "-nostdin"]
    assert {"-an", "-sn", "-dn"} <= set(asked[1])
