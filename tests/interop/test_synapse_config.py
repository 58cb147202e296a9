"""homeserver.yaml: only what matters to media is read, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr.errors import StartupError
from mmr.interop.synapse_config import read_synapse_config


def write(folder: Path, text: str, name: str = "homeserver.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_sqlite_and_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "server_name: media.example\n"
        "media_store_path: media\n"
        "database: {name: sqlite3, args: {database: homeserver.db}}\n",
    )
    config = read_synapse_config([file])
    assert config.server_name == "media.example"
    assert config.folders == (tmp_path / "media",)
    (tmp_path / "homeserver.db").touch()
    config.open_database().close()


def test_the_media_folder_has_synapses_default(tmp_path: Path) -> None:
    file = write(tmp_path, "{server_name: a.b, database: {name: sqlite3}}")
    assert read_synapse_config([file]).folders == (tmp_path / "media_store",)


def test_folders_of_providers_come_after_the_store(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
server_name: media.example
media_store_path: /data/media
database: {name: sqlite3, args: {database: /data/homeserver.db}}
media_storage_providers:
- module: s3_storage_provider.S3StorageProviderBackend
  config: {bucket: media}
- module: file_system
  config: {directory: /backup/media}
""",
    )
    assert read_synapse_config([file]).folders == (
        Path("/data/media"),
        Path("/backup/media"),
    )


def test_arguments_of_synapses_pool_are_not_libpqs(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
server_name: media.example
database:
  name: psycopg2
  args: {user: synapse_user, dbname: synapse, host: 127.0.0.1, port: 1, cp_min: 5}
""",
    )
    with pytest.raises(StartupError, match=r"'synapse' at 127\.0\.0\.1.*refused"):
        read_synapse_config([file]).open_database()


def test_of_several_databases_the_one_with_the_main_store_is_taken(
    tmp_path: Path,
) -> None:
    file = write(
        tmp_path,
        """
server_name: media.example
databases:
  state: {name: psycopg2, data_stores: [state], args: {dbname: state}}
  master: {name: psycopg2, data_stores: [main], args: {dbname: main}}
""",
    )
    assert read_synapse_config([file]).arguments["dbname"] == "main"


def test_a_later_file_replaces_whole_settings(tmp_path: Path) -> None:
    first = write(
        tmp_path,
        "server_name: media.example\ndatabase: {name: psycopg2, args: {host: one}}",
    )
    second = write(tmp_path, "database: {name: sqlite3}", "more.yaml")
    assert read_synapse_config([first, second]).engine == "sqlite3"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("database: {name: sqlite3}", "server_name is missing"),
        ("server_name: a.b", "database.name is None"),
        ("{server_name: a.b, database: {name: mysql}}", "'mysql'; expected"),
        ("{server_name: a.b, database: homeserver.db}", "database.name is None"),
        ("- a list", "no settings"),
        ("a: [", "is not YAML"),
    ],
)
def test_mistakes_are_named_with_the_file(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(StartupError, match=problem) as caught:
        read_synapse_config([write(tmp_path, text)])
    assert "homeserver.yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StartupError, match=r"homeserver\.yaml: cannot be read: No such"
    ):
        read_synapse_config([tmp_path / "homeserver.yaml"])
