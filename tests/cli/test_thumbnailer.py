"""``mmr-thumbnailer``, run as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.harness import jpeg
from tests.thumbnailing.images import RED, gif_of
from tests.thumbnailing.media_files import video

CONFIG = """
repo: {logDirectory: "-"}
homeservers: [{name: example.org, csApi: "http://127.0.0.1:1"}]
datastores: [{type: file, id: main, forKinds: [all], opts: {path: media}}]
thumbnails: {types: [video/mp4], maxPixels: 1000000}
"""


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status, and all that is said."""
    done = subprocess.run(
        [sys.executable, "-m", "mmr.cli.thumbnailer", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jpg").write_bytes(jpeg(800, 600))
    (tmp_path / "in.gif").write_bytes(gif_of([RED, (0, 0, 255)], (200, 100)))
    (tmp_path / "in.mp4").write_bytes(video("mp4"))
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_a_file_becomes_a_thumbnail(folder: Path) -> None:
    status, said = run(folder, "-i", "in.jpg", "-o", "out.jpg")

    assert (status, Image.open(folder / "out.jpg").size) == (0, (512, 384))
    assert "in.jpg: image/jpeg, as 512 x 512, scale, animated: False" in said
    assert "out.jpg: image/jpeg, 512 x 384, animated: False" in said


@pytest.mark.parametrize(
    "flags",
    [
        ("-w", "100", "-h", "50", "-m", "crop"),
        ("--w=100", "--h=50", "--m=crop"),
        ("-w=100", "-h=50", "-m=crop", "-a=false"),
    ],
)
def test_flags_are_those_of_matrix_media_repo(
    folder: Path, flags: tuple[str, ...]
) -> None:
    status, _ = run(folder, "-i", "in.jpg", "-o", "out", *flags)

    assert (status, Image.open(folder / "out").size) == (0, (100, 50))


def test_a_dry_run_draws_and_writes_nothing(folder: Path) -> None:
    status, said = run(folder, "-i", "in.jpg", "-o", "out", "--dry-run")

    assert (status, "512 x 384" in said) == (0, True)
    assert not (folder / "out").exists()


def test_an_animation_stays_one_when_asked(folder: Path) -> None:
    status, said = run(folder, "-i", "in.gif", "-o", "out", "-w", "50", "-h=50", "-a")

    assert (status, "animated: True" in said.splitlines()[-1]) == (0, True)
    assert getattr(Image.open(folder / "out"), "n_frames", 1) == 2


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_settings_come_from_the_configuration(folder: Path, way: str) -> None:
    flags = ["-config", "config.yaml"] if way == "flag" else ["-config", "nowhere"]
    environment = {} if way == "flag" else {"REPO_CONFIG": "config.yaml"}

    status, said = run(folder, "-i", "in.mp4", "-o", "out", *flags, **environment)
    assert (status, Image.open(folder / "out").size) == (0, (512, 288)), said
    status, said = run(folder, "-i", "in.jpg", "-o", "out2", *flags, **environment)
    assert status == 1
    assert "is it in `thumbnails.types`?" in said


def test_the_type_can_be_given_and_must_agree(folder: Path) -> None:
    """R28."""
    common = ("-i", "in.jpg", "-o", "out")

    assert run(folder, *common, "-f", "image/jpeg")[0] == 0
    status, said = run(folder, *common, "-f", "video/mp4")
    assert status == 1
    assert "not of the type that it claims to be" in said


def test_help_shows_examples(folder: Path) -> None:
    for flag in ("-help", "--help"):
        status, said = run(folder, flag)
        assert status == 0
        assert "mmr-thumbnailer -i photo.jpg -o small.jpg" in said


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-i", "missing", "-o", "out"], 1),
        (["-i", "config.yaml", "-o", "out"], 1),
        (["-i", "in.jpg", "-o", "no/such/folder"], 1),
        (["-i", "in.jpg"], 2),
        (["-o", "out"], 2),
        (["-i", "in.jpg", "-o", "out", "-w", "0"], 2),
        (["-i", "in.jpg", "-o", "out", "-w", "wide"], 2),
        (["-i", "in.jpg", "-o", "out", "-m", "stretch"], 2),
        (["-i", "in.jpg", "-o", "out", "-a=perhaps"], 2),
        (["-i", "in.jpg", "-o", "out", "-config", "in.jpg"], 2),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    folder: Path, arguments: list[str], status: int
) -> None:
    found, said = run(folder, *arguments)

    assert found == status, said
    assert "Traceback" not in said
    assert said.strip()
    assert not (folder / "out").exists()
