"""Going through the keys of a file: unknown ones, misplaced ones, and secrets.

Runs before the values are validated, on a copy of the tree.
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from mmr.config._base import Mark, Section, Setting, settings_of
from mmr.config._problems import error_at, warning_at
from mmr.config._yaml import KeyPath, Place
from mmr.config.datastores import DatastoreConfig, is_disabled_ipfs
from mmr.config.root import Config, DomainConfig
from mmr.errors import ConfigError

_MAX_SECRET_BYTES = 64 * 1024


@attrs.define
class Findings:
    """What was found on the way."""

    warnings: list[str] = attrs.field(factory=list)
    unknown: list[ConfigError] = attrs.field(factory=list)
    errors: list[ConfigError] = attrs.field(factory=list)
    with_secrets: set[Path] = attrs.field(factory=set)


class KeyWalk:
    """One pass over the tree of the main part, or of a domain."""

    def __init__(
        self,
        root: type[Section],
        places: Mapping[KeyPath, Place],
        findings: Findings,
    ) -> None:
        self._root = root
        self._places = places
        self._findings = findings

    def clean(self, values: dict[str, Any]) -> dict[str, Any]:
        """The tree with known keys only, and with secrets read from their files."""
        return self._section(self._root, values, ())

    def _section(
        self, model: type[Section], values: dict[str, Any], path: KeyPath
    ) -> dict[str, Any]:
        known = settings_of(model)
        if model is DatastoreConfig and is_disabled_ipfs(values):
            text = "IPFS is not supported; this disabled entry is left out"
            self._findings.warnings.append(warning_at(path, self._places, text))
        cleaned: dict[str, Any] = {}
        for key, value in values.items():
            if self._is_used(model, known, key, path):
                child = model.section_behind(known[key], values)
                cleaned[key] = self._value(known[key], child, value, (*path, key))
        for setting in known.values():
            if Mark.SECRET in setting.marks:
                self._secret(setting, cleaned, path)
        return cleaned

    def _value(
        self, setting: Setting, model: type[Section] | None, value: Any, path: KeyPath
    ) -> Any:
        if Mark.RELATIVE in setting.marks and isinstance(value, str) and value:
            return str(self._folder(path) / value)
        if model and isinstance(value, dict) and not setting.is_list:
            return self._section(model, value, path)
        if model and isinstance(value, list):
            return [
                self._section(model, item, (*path, index))
                if isinstance(item, dict)
                else item
                for index, item in enumerate(value)
            ]
        return value

    def _folder(self, path: KeyPath) -> Path:
        lengths = range(len(path), -1, -1)
        places = (self._places.get(path[:length]) for length in lengths)
        return next(place.file for place in places if place).absolute().parent

    def _is_used(
        self,
        model: type[Section],
        known: Mapping[str, Setting],
        key: str,
        path: KeyPath,
    ) -> bool:
        is_domain = self._root is DomainConfig
        main_only = is_domain and not path and key in settings_of(Config)
        if key in known:
            main_only = is_domain and Mark.MAIN_ONLY in known[key].marks
        elif key in model.RETIRED:
            self._warn(path, key, f"has no effect any more; {model.RETIRED[key]}")
        elif not main_only:
            self._unknown(known, key, path)
        if main_only:
            self._warn(path, key, "can't be set per domain; the main value counts")
        return key in known and not main_only

    def _unknown(self, known: Mapping[str, Setting], key: str, path: KeyPath) -> None:
        nearest = _nearest(key, known)
        advice = f"; did you mean {nearest}?" if nearest else ""
        self._findings.unknown.append(
            error_at((*path, key), self._places, f"is not a known key{advice}")
        )

    def _warn(self, path: KeyPath, key: str, text: str) -> None:
        self._findings.warnings.append(warning_at((*path, key), self._places, text))

    def _secret(self, setting: Setting, values: dict[str, Any], path: KeyPath) -> None:
        """Note where a secret is, and read it when it is in a file of its own."""
        path_key = f"{setting.key}Path"
        file, given = values.get(path_key), values.get(setting.key)
        if given and given != setting.field.default:
            if place := self._places.get((*path, setting.key)):
                self._findings.with_secrets.add(place.file)
            if file:
                self._error(path, path_key, f"is given beside {setting.key}")
        elif isinstance(file, str) and file:
            secret = self._read(path, path_key, Path(file))
            values.pop(setting.key, None)
            if secret is not None:
                values[setting.key] = secret
                self._findings.with_secrets.add(Path(file))

    def _read(self, path: KeyPath, key: str, file: Path) -> str | None:
        try:
            with file.open("rb") as stream:
                data = stream.read(_MAX_SECRET_BYTES + 1)
            if len(data) > _MAX_SECRET_BYTES:
                raise ValueError
            secret = data.decode().strip()
        except OSError as error:
            self._error(path, key, f"{file} can't be read: {error.strerror}")
        except ValueError:
            self._error(path, key, f"{file} is not a short file of UTF-8 text")
        else:
            if secret:
                return secret
            self._error(path, key, f"{file} is empty")
        return None

    def _error(self, path: KeyPath, key: str, text: str) -> None:
        self._findings.errors.append(error_at((*path, key), self._places, text))


def _nearest(key: str, known: Mapping[str, Setting]) -> str | None:
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(key[:100].lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def readable_by_others(files: set[Path]) -> list[str]:
    """A warning for each file with a secret that anybody may read (R104)."""
    warnings = []
    for file in sorted(files):
        try:
            mode = file.stat().st_mode
        except (OSError, ValueError):
            continue  # Whoever needs the file says why it can't be read.
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            warnings.append(
                f"{file}: holds a secret and everybody may read it; chmod o-r {file}"
            )
    return warnings
