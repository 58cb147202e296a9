"""Writing configurations for tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from mmr.config import Config, load_config
from mmr.errors import ConfigError

MINIMAL = """\
homeservers:
  - name: example.org
    csApi: https://matrix.example.org
datastores:
  - type: file
    id: main
    forKinds: [all]
    opts: {path: /var/lib/mmr}
"""


def write(folder: Path, text: str, name: str = "mmr.yaml") -> Path:
    """Write a file that only we may read, and return its path."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    path.chmod(0o600)
    return path


def load(folder: Path, text: str, base: str = MINIMAL) -> Config:
    """Load one file of some sections, with the sections that are always needed."""
    return load_config([write(folder, base + textwrap.dedent(text))])


def refused(folder: Path, text: str, base: str = MINIMAL) -> str:
    """The text of the error that the sections end in, without the folder's name."""
    with pytest.raises(ConfigError) as raised:
        load(folder, text, base)
    return str(raised.value).replace(f"{folder}/", "")
