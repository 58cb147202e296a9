"""The wheel holds the package and nothing else; the source archive all that we have."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.checkout import ROOT, copy_checkout


def run(*arguments: str | Path) -> str:
    """Run a program to its end; its output is in the error when it fails."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Not the checkout: Python puts the working directory on its path.
        cwd="/",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves files in its source folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_checkout(folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    run(*pip, "--disable-pip-version-check", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, from a copy as well."""
    folder = tmp_path_factory.mktemp("sdist")
    source = copy_checkout(folder / "source")
    build = (
        f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    )
    run("env", "-C", source, sys.executable, "-c", build)
    (built,) = folder.glob("*.tar.gz")
    return built


def test_the_source_archive_holds_every_file_of_the_repository(sdist: Path) -> None:
    listing = ["git", "-C", str(ROOT), "ls-files"]
    known = subprocess.run(listing, capture_output=True, text=True, check=False)
    if known.returncode != 0:
        pytest.skip("not a clone: nobody knows what belongs to the repository")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    # Deleted, but not committed yet, is no file of the repository either.
    wanted = {name for name in known.stdout.splitlines() if (ROOT / name).is_file()}
    assert sorted(wanted - held) == []


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    """Modules, schema, data: what package data doesn't name would be missing."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mmr").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    shipped = {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }
    assert shipped == package | {"twisted/plugins/mmr_plugin.py"}


@pytest.mark.parametrize("built", ["wheel", "sdist"])
def test_twistd_and_the_console_script_work_where_nothing_else_is(
    built: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    # Our own dependencies, but not the checkout: .pth files in there don't count.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(
        *pip,
        "--disable-pip-version-check",
        "--no-deps",
        "--force-reinstall",
        request.getfixturevalue(built),
    )

    where = run(python, "-c", "import mmr; print(mmr.__file__)")
    assert where.startswith(str(tmp_path))
    twistd = "from twisted.scripts.twistd import run; run()"
    assert "Matrix media repository" in run(python, "-c", twistd, "--help")
    mmr = tmp_path / "venv" / "bin" / "mmr"
    assert "--config-path" in run(mmr, "--help")
    assert "homeservers:" in run(mmr, "--generate-config")
