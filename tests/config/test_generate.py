"""What is made from the declarations: the first file, and the manual's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mmr.config import Config, generate_config, load_config, reference_markdown
from mmr.config._base import Section, Setting, settings_of
from mmr.config.datastores import OPTIONS

from tests.config.files import write

MANUAL = Path(__file__).parents[2] / "docs" / "configuration.md"


def every_setting(model: type[Section]) -> Iterator[tuple[type[Section], Setting]]:
    for setting in settings_of(model).values():
        if setting.model is None or setting.is_list:
            yield model, setting
        if setting.model:
            yield from every_setting(setting.model)


SETTINGS = [
    pair for root in (Config, *OPTIONS.values()) for pair in every_setting(root)
]


@pytest.mark.parametrize("name", ["localhost", "example.org:8448", "[::1]:8008"])
def test_a_generated_file_loads_without_warnings(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, generate_config(name))
    config = load_config([path], strict=True)
    assert config.warnings == ()
    assert list(config.domains) == [name]
    assert config.database.sqlite == tmp_path / "mmr.db"
    assert config.repo.bind_address == "127.0.0.1"


def test_a_generated_file_sets_nothing_but_what_it_shows(tmp_path: Path) -> None:
    config = load_config([write(tmp_path, generate_config(port=8123))])
    expected = Config.model_validate(
        {
            "repo": {"port": 8123},
            "database": {"sqlite": tmp_path / "mmr.db"},
            "datastores": [
                {"type": "file", "id": "main", "forKinds": ["all"],
                 "opts": {"path": "media"}}
            ],
        }
    )  # fmt: skip
    made = {"homeservers": (), "domains": {}, "files": ()}
    assert config.model_copy(update=made) == expected


def test_a_generated_file_can_let_in_a_local_appservice(tmp_path: Path) -> None:
    text = generate_config("a.b", appservice_token="t" * 20)
    config = load_config([write(tmp_path, text)], strict=True)
    tokens = config.domains["a.b"].access_tokens
    assert tokens.use_local_appservice_config is True
    assert tokens.appservices[0].as_token == "t" * 20
    assert tokens.appservices[0].owns("@anybody:a.b")
    assert not tokens.appservices[0].owns("@anybody:axb")


def test_a_generated_file_explains_every_key() -> None:
    text = generate_config()
    for line in (line.strip() for line in text.splitlines()):
        assert len(line) < 600
    assert "#maxConnections: 2000" in text
    assert "#enabled: false" in text


def test_the_manual_is_up_to_date() -> None:
    assert MANUAL.read_text(encoding="utf-8") == reference_markdown(), (
        "write it anew; mmr/config/reference.py says how"
    )


def test_the_manual_has_every_key() -> None:
    text = reference_markdown()
    for _, setting in SETTINGS:
        assert setting.key in text


@pytest.mark.parametrize(
    ("model", "setting"), SETTINGS, ids=[f"{m.__name__}.{s.key}" for m, s in SETTINGS]
)
def test_every_key_has_an_effect_and_an_example_that_is_valid(
    model: type[Section], setting: Setting
) -> None:
    field = setting.field
    assert field.description
    assert field.examples is not None
    adapter: TypeAdapter[object] = TypeAdapter(field.rebuild_annotation())
    value = adapter.validate_python(field.examples[0])
    assert value is not None
    if not field.is_required():
        assert value != field.default
