"""``mmr-generate-signing-key`` and ``mmr-combine-signing-keys``, run as programs."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmr.crypto.key_formats import KeyFormat, decode_keys, encode_keys
from mmr.crypto.keys import SigningKey, encode_base64

from tests.crypto.vectors import (
    D1,
    D2,
    DENDRITE,
    DENDRITE_2,
    M1,
    M2,
    MMR,
    MMR_2,
    S1,
    S2,
    SYNAPSE,
    SYNAPSE_2,
)

ALL = (SYNAPSE, SYNAPSE_2, MMR, MMR_2, DENDRITE, DENDRITE_2)
ONE_KEY = {"s": S1, "d": D1, "m": M1}
TWO_KEYS = {"s": f"{S1}\n{S2}", "d": D1 + D2, "m": M1 + M2}
OF_FORMAT = {KeyFormat.SYNAPSE: S1, KeyFormat.DENDRITE: D1, KeyFormat.MMR: M1}


def run(program: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit status, and all that is said."""
    module = f"mmr.cli.{program}_signing_{_ENDINGS[program]}"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


_ENDINGS = {"generate": "key", "combine": "keys"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in ONE_KEY.items():
        (tmp_path / f"{name}1").write_text(text)
        (tmp_path / f"{name}2").write_text(TWO_KEYS[name])
    return tmp_path


def assert_no_secret(said: str) -> None:
    """R42."""
    for key in ALL:
        assert encode_base64(key.seed) not in said


def test_a_new_key_is_a_file_of_its_owner(tmp_path: Path) -> None:
    """R104."""
    status, said = run("generate", tmp_path)
    path = tmp_path / "signing.key"
    kind, [key] = decode_keys(path.read_text())

    assert (status, kind) == (0, KeyFormat.MMR)
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch("[a-zA-Z0-9]{6}", key.version)
    assert len(set(key.version)) == 6
    assert said == f"{key.key_id} written to signing.key (mmr format)\n"


def test_new_keys_are_made_of_the_systems_randomness_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R104 (CVE-2026-24044): where it repeats itself, so do the keys."""
    asked = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        return b"\7" * count

    monkeypatch.setattr(random, "_urandom", urandom)
    keys = [SigningKey.generate() for _ in range(2)]

    assert keys[0] == keys[1]
    assert keys[0].seed == b"\7" * 32
    assert asked.count(32) == 2


def test_no_two_new_keys_are_alike() -> None:
    keys = [SigningKey.generate() for _ in range(20)]

    assert len({key.seed for key in keys}) == 20
    assert all(len(key.seed) == 32 for key in keys)


@pytest.mark.parametrize("source", "sdm")
@pytest.mark.parametrize(
    "flags", [("-format", "{}"), ("--format={}",), ("-format={}",)]
)
@pytest.mark.parametrize("target", KeyFormat)
def test_a_key_is_converted(
    folder: Path, source: str, flags: tuple[str, ...], target: KeyFormat
) -> None:
    """Of two keys the first is taken, as by matrix-media-repo's tool."""
    words = [flag.format(target.value) for flag in flags]
    status, said = run("generate", folder, "-input", f"{source}2", *words)
    _, [key, _] = decode_keys(TWO_KEYS[source])

    assert (status, key.key_id in said) == (0, True)
    assert (folder / "signing.key").read_text() == encode_keys([key], target)
    assert_no_secret(said)


def test_files_come_out_byte_for_byte(folder: Path) -> None:
    for kind, text in OF_FORMAT.items():
        source = f"{kind.value[0]}1"
        flags = ("-input", source, "-format", kind.value, "-output", f"{source}.out")
        assert run("generate", folder, *flags)[0] == 0
        assert (folder / f"{source}.out").read_text() == text


@pytest.mark.parametrize("target", KeyFormat)
def test_keys_are_combined_in_order(folder: Path, target: KeyFormat) -> None:
    flags = ("-format", target.value, "-output", "all.key")
    status, said = run("combine", folder, *flags, "s2", "m2", "d2")

    assert (status, said.count("written")) == (0, 6)
    assert decode_keys((folder / "all.key").read_text()) == (target, ALL)
    assert (folder / "all.key").stat().st_mode & 0o777 == 0o600
    assert_no_secret(said)


def test_a_repeated_version_ends_it_without_showing_keys(folder: Path) -> None:
    status, said = run("combine", folder, "m2", "s1", "m1")

    assert status == 1
    assert "ed25519:e5d0oC is in m2 and again in m1" in said
    assert not (folder / "signing.key").exists()
    assert_no_secret(said)


def test_a_file_that_is_there_is_kept_unless_told_otherwise(folder: Path) -> None:
    kept = folder / "kept"
    kept.write_text("precious")
    kept.chmod(0o644)
    assert run("combine", folder, "-output", "kept", "m1")[0] == 1
    assert kept.read_text() == "precious"

    # A switch never takes the word behind it.
    status, _ = run("combine", folder, "-output", "kept", "-overwrite", "m1", "d1")

    assert status == 0
    assert decode_keys(kept.read_text())[1] == (MMR, DENDRITE)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {
        "kept", "s1", "s2", "d1", "d2", "m1", "m2",
    }  # fmt: skip


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    status, said = run("combine", folder, "--dry-run", "m2")

    assert (status, said.count("would be written")) == (0, 2)
    assert not (folder / "signing.key").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "it is empty"),
        (b"\xff\xfe", "it is no text"),
        (b"k" * 70_000, "longer than"),
        (b"ed25519 a_x", "line 1 has 2 words"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n\n-----END RSA PRIVATE KEY-----\n", "RSA"),
        (M1.replace("Version: 1", "Version: 2").encode(), "Version: 1"),
    ],
)
def test_bad_files_are_named(folder: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (folder / "bad").write_bytes(content)
    for program, flags in (("generate", ["-input"]), ("combine", ["m1"])):
        status, said = run(program, folder, *flags, "bad")

        assert status == 1
        assert "bad: " in said
        assert reason in said
        assert not (folder / "signing.key").exists()
        assert_no_secret(said)


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    status, said = run("generate", folder, "-output", "none/signing.key")

    assert (status, "none/signing.key: can't be written" in said) == (1, True)


@pytest.mark.parametrize("program", ["generate", "combine"])
def test_mistakes_and_help(folder: Path, program: str) -> None:
    status, said = run(program, folder, "-format", "pkcs8", "m1")
    assert (status, "choose from" in said) == (2, True)

    for flag in ("-help", "--help"):
        status, said = run(program, folder, flag)
        assert (status, "examples:" in said, "exit status" in said) == (0, True, True)
