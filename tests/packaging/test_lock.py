"""The lock file of the container image (R108)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.packaging.checkout import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+?)(?: ;.*)? \\$", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str, pattern: str) -> dict[str, str]:
    found = re.findall(pattern, text, re.MULTILINE)
    return {canonical(name): version for name, version in found}


def test_it_has_the_versions_that_the_tests_ran_with() -> None:
    tested = pins((ROOT / "constraints.txt").read_text(), r"^([^#=\s]+)==(\S+)$")
    locked = pins(LOCK, _PIN.pattern)
    assert {"twisted", "pillow", "psycopg2-binary", "sentry-sdk"} <= locked.keys()
    both = tested.keys() & locked.keys()
    assert {name: locked[name] for name in both} == {
        name: tested[name] for name in both
    }


def test_every_version_has_its_hashes() -> None:
    blocks = re.split(r"^(?=[A-Za-z])", LOCK.split("\n\n")[-1], flags=re.MULTILINE)
    wanted = [block for block in blocks if "==" in block and block[0].isalnum()]
    assert wanted
    assert all("--hash=sha256:" in block for block in wanted)


def test_a_changed_package_is_refused(tmp_path: Path) -> None:
    """An attacker who replaces a file in the index doesn't get into the image."""
    block = re.search(r"^annotated-types==.*?(?=^[a-z])", LOCK, re.M | re.S)
    assert block is not None
    for name, text, is_taken in (
        ("good", block[0], True),
        ("bad", re.sub(r"sha256:[0-9a-f]{8}", "sha256:" + "0" * 8, block[0]), False),
    ):
        (tmp_path / name).write_text(text)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--require-hashes", "-d", str(tmp_path / f"{name}.d")]
        pip += ["-r", str(tmp_path / name)]
        done = subprocess.run(pip, capture_output=True, text=True)
        assert (done.returncode == 0) == is_taken, done.stderr
