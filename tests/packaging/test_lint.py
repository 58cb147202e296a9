"""``scripts-dev/lint`` passes: what CI runs holds the rules too (R110)."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_linters_are_content() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts-dev" / "lint")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
