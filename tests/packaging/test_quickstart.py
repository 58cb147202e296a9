"""The README's first command, in a fresh clone."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.packaging.checkout import copy_checkout


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone after one ``quickstart --check``."""
    folder = copy_checkout(tmp_path_factory.mktemp("clone") / "mmr")
    done = run(folder / "scripts" / "quickstart", "--check")
    assert done.returncode == 0, done.stdout
    assert "quickstart: all is well" in done.stdout
    return folder


def test_the_configuration_with_the_token_is_for_its_owner_alone(clone: Path) -> None:
    """R104: mode 0600."""
    mode = (clone / "mmr-data" / "mmr.yaml").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_it_starts_again_with_the_same_configuration(clone: Path) -> None:
    config = clone / "mmr-data" / "mmr.yaml"
    before = config.read_text()
    done = run(clone / "scripts" / "quickstart", "--check")
    assert done.returncode == 0, done.stdout
    assert config.read_text() == before


def test_an_editable_installation_has_the_plugin_and_fitting_requirements(
    clone: Path,
) -> None:
    assert "Matrix media repository" in run(clone / ".venv/bin/twistd", "--help").stdout
    check = run(clone / ".venv" / "bin" / "python", "-m", "pip", "check")
    assert check.returncode == 0, check.stdout


def test_a_broken_configuration_is_told_and_fails(clone: Path) -> None:
    config = clone / "mmr-data" / "mmr.yaml"
    good = config.read_text()
    bad = good.replace("forKinds: [all]", "forKinds: [everything]")
    # Other tests start servers meanwhile: a port that is surely free.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bad = re.sub(
            r"(?m)^(  port:) \d+", rf"\1 {probe.getsockname()[1]}", bad, count=1
        )
    config.write_text(bad)
    try:
        done = run(clone / "scripts" / "quickstart", "--check")
    finally:
        config.write_text(good)
    assert done.returncode == 1
    assert "forKinds" in done.stdout
    assert "everything" in done.stdout
    assert "Traceback" not in done.stdout


def test_scripts_are_executable() -> None:
    root = Path(__file__).resolve().parents[2]
    for name in ("scripts/quickstart", "scripts-dev/test", "scripts-dev/lint"):
        assert os.access(root / name, os.X_OK), name


def test_ci_runs_the_command_that_the_readme_names() -> None:
    root = Path(__file__).resolve().parents[2]
    assert "exec ./scripts-dev/test\n" in (root / ".ci" / "run").read_text()
    readme = (root / "README.md").read_text()
    assert "\n    ./scripts/quickstart\n" in readme
    assert "\n    ./scripts-dev/test\n" in readme
