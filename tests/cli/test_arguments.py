"""Flags are spelled as MMR's programs have them, or as other programs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr.cli.arguments import Arguments


def parser() -> Arguments:
    flags = Arguments("program", "does things", "")
    flags.flag("mediaDirectory", "a folder", default="")
    flags.switch("dryRun", "change nothing")
    flags.paths("config", "a file")
    return flags


@pytest.mark.parametrize(
    "words",
    [
        ["-mediaDirectory", "a", "-dryRun"],
        ["--mediaDirectory=a", "--dryRun=true"],
        ["--media-directory", "a", "--dry-run"],
        ["--media-directory=a", "--dry-run=true"],
    ],
)
def test_every_spelling_means_the_same(words: list[str]) -> None:
    options = parser().parse_args(words)
    assert (options.mediaDirectory, options.dryRun) == ("a", True)


def test_values_stay_as_they_are() -> None:
    options = parser().parse_args(["--media-directory=--dry-run"])
    assert (options.mediaDirectory, options.dryRun) == ("--dry-run", False)


def test_paths_may_be_given_several_times() -> None:
    assert parser().parse_args([]).config == []
    options = parser().parse_args(["-config", "a", "--config=b/c"])
    assert options.config == [Path("a"), Path("b/c")]


def test_unknown_flags_are_mistakes() -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--media-director", "a"])
    assert caught.value.code == 2
