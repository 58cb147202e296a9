"""Old libraries and programs are found (R108)."""

from __future__ import annotations

from importlib import metadata

import pytest

from mmr.doctor import Level, versions


def test_what_is_installed_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_programs", dict)
    (finding,) = versions.check_versions()
    assert finding.level is Level.GOOD
    for name in ("Twisted", "Pillow"):
        assert f"{name} {metadata.version(name)}" in finding.text


def test_a_library_below_its_floor_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "_programs", dict)
    monkeypatch.setattr(versions, "_floors", lambda: {"Pillow": (99, 1)})
    found = versions.check_versions()
    assert [each.level for each in found] == [Level.GOOD, Level.WARNING]
    assert "older than 99.1" in found[1].text
    assert "pip install --upgrade Pillow" in found[1].fix


def test_an_old_codec_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_programs", lambda: {"ffmpeg": "/bin/true"})
    for version, is_old in (("5.1.6", True), ("8.1.3", False), ("9.0", False)):
        monkeypatch.setattr(versions, "_version_of", lambda _, given=version: given)
        levels = [each.level for each in versions.check_versions()]
        assert (Level.WARNING in levels) == is_old, version
