"""What Synapse's ``homeserver.yaml`` says about its media and its database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from mmr.errors import StartupError
from mmr.interop.foreign_database import ForeignDatabase, open_postgres, open_sqlite

_FILE_SYSTEM = frozenset(
    {"file_system", "synapse.media.storage_provider.FileStorageProviderBackend"}
)


@attrs.frozen
class SynapseConfig:
    """The settings that matter to whoever moves media in or out.

    Attributes:
        folders: ``media_store_path``, then the folders of ``file_system`` providers.
        engine: ``sqlite3`` or ``psycopg2``.
        arguments: For that driver, as the file has them.
    """

    server_name: str
    folders: tuple[Path, ...]
    engine: str
    arguments: Mapping[str, Any]

    def open_database(self, *, writing: bool = False) -> ForeignDatabase:
        """Connect to the database. Blocks.

        Raises:
            ForeignDatabaseError: when it can't be reached.
        """
        if self.engine == "sqlite3":
            return open_sqlite(Path(self.arguments["database"]), writing=writing)
        # Synapse's own pool is set up by the words that begin with "cp_".
        options = {
            name: value
            for name, value in self.arguments.items()
            if not name.startswith("cp_")
        }
        return open_postgres(options, writing=writing)


def read_synapse_config(files: Sequence[Path]) -> SynapseConfig:
    """Read one file or several, the later ones over the earlier ones, key by key.

    Relative paths count from the folder of the first file, where Synapse is run as a
    rule.

    Raises:
        StartupError: when they can't be read or lack what is needed.
    """
    settings: dict[str, Any] = {}
    for file in files:
        settings.update(_read(file))
    where = ", ".join(map(str, files))
    server_name = settings.get("server_name")
    if not isinstance(server_name, str):
        raise StartupError(f"{where}: server_name is missing: is it homeserver.yaml?")
    base = files[0].absolute().parent
    store = base / str(settings.get("media_store_path") or "media_store")
    providers = settings.get("media_storage_providers") or []
    engine, arguments = _database(settings, where)
    if engine == "sqlite3":
        arguments = {"database": base / str(arguments.get("database", "homeserver.db"))}
    return SynapseConfig(
        server_name,
        (store, *(base / path for path in _provider_folders(providers))),
        engine,
        arguments,
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text())
    except OSError as error:
        raise StartupError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StartupError(f"{file}: is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise StartupError(f"{file}: holds no settings: is it homeserver.yaml?")
    return settings


def _database(settings: dict[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """The database that has the tables of media: the one of the store ``main``."""
    candidates = [
        section
        for section in (settings.get("databases") or {}).values()
        if isinstance(section, dict) and "main" in section.get("data_stores", ["main"])
    ]
    section = settings.get("database") or next(iter(candidates), None)
    section = section if isinstance(section, dict) else {}
    engine = section.get("name")
    if engine not in ("sqlite3", "psycopg2"):
        raise StartupError(
            f"{where}: database.name is {engine!r}; expected sqlite3 or psycopg2"
        )
    return engine, dict(section.get("args") or {})


def _provider_folders(providers: Sequence[Any]) -> list[str]:
    return [
        str(provider["config"]["directory"])
        for provider in providers
        if isinstance(provider, dict) and provider.get("module") in _FILE_SYSTEM
    ]
