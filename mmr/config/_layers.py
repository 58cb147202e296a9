"""Finding the files, and laying them over each other (MMR reference §1)."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmr.config._problems import error_at, raise_all, warning_at
from mmr.config._yaml import Document, KeyPath, Place, read_document
from mmr.errors import ConfigError

DEFAULT_DATABASE = "mmr.db"
_EXTENSIONS = {".yaml", ".yml", ".json"}


@attrs.define
class Layer:
    """Values with the place of each key; files are laid over it one by one."""

    values: dict[str, Any] = attrs.field(factory=dict)
    places: dict[KeyPath, Place] = attrs.field(factory=dict)

    def lay(self, document: Document) -> None:
        """Lay a file over what is there: mappings merge, all else is replaced."""
        upper = Layer(document.values, document.places).over(self)
        self.values, self.places = upper.values, upper.places

    def over(self, base: Layer) -> Layer:
        """This layer on top of another."""
        lists = set(_list_paths(self.values, ()))
        kept = {
            path: place
            for path, place in base.places.items()
            if not any(path[:length] in lists for length in range(1, len(path)))
        }
        return Layer(merge(base.values, self.values), {**kept, **self.places})


@attrs.frozen
class Layers:
    """All files, sorted into the main part and the domains.

    Attributes:
        domains: By lower-case server name; the name as written is in ``homeserver``.
    """

    main: Layer
    domains: dict[str, Layer]
    files: list[Path]
    warnings: list[str]


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings deeply. Lists and scalars of the upper one win.

    A key without a value overrides nothing.
    """
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(below, value)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged


def _list_paths(values: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    """Where the lists are: they replace what is below, and its places with it."""
    for key, value in values.items():
        if isinstance(value, list):
            yield (*path, key)
        elif isinstance(value, dict):
            yield from _list_paths(value, (*path, key))


def config_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files that a path stands for, and those in its folder that are left out.

    Raises:
        ConfigError: when there is nothing, or the folder can't be read.
    """
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path], []
        entries = sorted(
            (entry for entry in path.iterdir() if not entry.is_dir()),
            key=lambda entry: str(entry).encode(errors="surrogateescape"),
        )
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file or folder; `mmr --generate-config` prints one",
            source=str(path),
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise ConfigError(f"can't be read: {reason}", source=str(path)) from None
    read = [entry for entry in entries if _is_config(entry)]
    if not read:
        raise ConfigError("the folder holds no .yaml file", source=str(path))
    return read, [entry for entry in entries if entry not in read]


def _is_config(entry: Path) -> bool:
    is_special = entry.exists() and not entry.is_file()
    is_hidden = entry.name.startswith(".")
    return entry.suffix.lower() in _EXTENSIONS and not is_hidden and not is_special


def read_layers(paths: Sequence[Path]) -> Layers:
    """Read all files of all paths, in the order of the paths.

    Raises:
        ConfigError: naming every file that can't be read or parsed.
    """
    layers = Layers(Layer(), {}, [], [])
    errors: list[ConfigError] = []
    for file in _files(paths, layers.warnings, errors):
        try:
            _lay_file(layers, read_document(file))
        except ConfigError as error:
            errors.append(error)
        layers.files.append(file)
    raise_all(errors)
    return layers


def _files(
    paths: Sequence[Path], warnings: list[str], errors: list[ConfigError]
) -> Iterator[Path]:
    for path in paths:
        try:
            read, skipped = config_files(path)
        except ConfigError as error:
            errors.append(error)
            continue
        yield from read
        warnings += [
            f"{file}: is not read; only .yaml, .yml and .json files that are not"
            " hidden are"
            for file in skipped
            if not file.name.startswith(DEFAULT_DATABASE)
        ]


def _lay_file(layers: Layers, document: Document) -> None:
    if "homeserver" not in document.values:
        _warn_of_lost_keys(layers, document)
        layers.main.lay(document)
        return
    name = document.values["homeserver"]
    if not isinstance(name, str):
        text = "expected a server name such as example.org"
        raise error_at(("homeserver",), document.places, text)
    layers.domains.setdefault(name.lower(), Layer()).lay(document)


def _warn_of_lost_keys(layers: Layers, document: Document) -> None:
    """Tell where MMR's shallow merge would give something else than ours."""
    for key, upper in document.values.items():
        lower = layers.main.values.get(key)
        if not isinstance(lower, dict) or not isinstance(upper, dict | None):
            continue
        if kept := lost_keys(lower, upper or {}):
            text = (
                f"earlier files still count for {', '.join(kept)};"
                " matrix-media-repo would take the defaults there"
            )
            layers.warnings.append(warning_at((key,), document.places, text))


def lost_keys(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> list[str]:
    """Keys of the lower mapping that replacing it by the upper one would lose."""
    lost: list[str] = []
    for key, value in lower.items():
        above = upper.get(key)
        if isinstance(value, dict) and isinstance(above, dict):
            lost += [f"{key}.{inner}" for inner in lost_keys(value, above)]
        elif above is None and value is not None:
            lost.append(key)
    return lost
