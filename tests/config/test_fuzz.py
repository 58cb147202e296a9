"""Whatever is in a file, the operator gets a `ConfigError` or a `Config`."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmr.config import Config, load_config
from mmr.config._base import Section, settings_of
from mmr.errors import ConfigError

from tests.config.files import MINIMAL

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["file", "s3", "@a:b.c", "a.b", "10.0.0.0/8", "http://a", "all"])
)


def load_bytes(*contents: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.yaml" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        with contextlib.suppress(ConfigError):
            load_config(paths)


def values_for(model: type[Section]) -> st.SearchStrategy[Any]:
    """Mappings with the section's keys, and any values behind them."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for setting in settings_of(model).values():
        value = values_for(setting.model) if setting.model else SCALARS
        value = st.lists(value, max_size=2) if setting.is_list else value
        fields[setting.key] = SCALARS | value
    return st.fixed_dictionaries({}, optional=fields)


ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=20,
)
KEYS = sorted(settings_of(Config))


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    load_bytes(content)
    load_bytes(MINIMAL.encode() + content)


@given(st.text("ab:-{}[]&*!<|>'\"#%@`?,\n \t0.~\\", max_size=60))
def test_anything_that_looks_like_yaml(text: str) -> None:
    load_bytes(text.encode())


@given(st.dictionaries(st.sampled_from(KEYS), ANY, max_size=4), ANY)
def test_any_values_in_known_sections(main: dict[str, Any], domain: Any) -> None:
    other = {"homeserver": "example.org", "uploads": domain, "datastores": domain}
    load_bytes(
        yaml.safe_dump(main).encode(),
        MINIMAL.encode(),
        yaml.safe_dump(other).encode(),
    )


@given(values_for(Config))
def test_any_values_of_known_keys(values: dict[str, Any]) -> None:
    load_bytes(yaml.safe_dump(values).encode())
