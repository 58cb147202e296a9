"""Reading one YAML file into plain values, with the line of every key.

The safe loader composes the file (R110); the values are built here, because they have
to be those of YAML 1.2 (``yes`` and ``12:30`` are text, as in MMR) and because
duplicate keys, aliases that multiply and endless nesting have to be refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mmr.config._values import WrittenFloat, WrittenInt
from mmr.errors import ConfigError

KeyPath = tuple[str | int, ...]

_MAX_BYTES = 8 * 1024 * 1024
_MAX_DEPTH = 50
_MAX_VALUES = 100_000
_TAG = "tag:yaml.org,2002:"
_QUOTED = re.compile(r"(['\"])(?!<)[^'\"]{4,}\1")


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+|0o[0-7_]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


@attrs.frozen
class Place:
    """Where a key is written, and its path in that file."""

    file: Path
    line: int
    path: KeyPath

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@attrs.frozen
class Document:
    """One file: its values, and where each of its keys is written."""

    file: Path
    values: dict[str, Any]
    places: dict[KeyPath, Place]


def read_document(file: Path) -> Document:
    """Read and parse a file.

    Raises:
        ConfigError: with file and line, when it can't be read or isn't proper YAML.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise ConfigError(f"can't be read: {reason}", source=str(file)) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError("is larger than 8 MiB", source=str(file))
    return parse_document(data, file)


def parse_document(data: bytes, file: Path) -> Document:
    """Parse YAML. See `read_document`."""
    builder = _Builder(file)
    try:
        node = yaml.compose(data, _Loader)
        values = builder.build(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        # Neither the snippet nor long quoted parts: they may be secrets (R106).
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        text = ", ".join(part for part in (error.problem, error.context) if part)
        raise ConfigError(
            f"is not valid YAML: {_QUOTED.sub('…', text)}", source=f"{file}:{line}"
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise ConfigError(
            "is not valid YAML: a character is not allowed", source=str(file)
        ) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", source=str(file)) from None
    if not isinstance(values, dict | None):
        raise ConfigError(
            "expected a mapping of sections at the top", source=f"{file}:1"
        )
    return Document(file, values or {}, builder.places)


class _Builder:
    """Turns the nodes of one file into values."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count = 0
        self.places: dict[KeyPath, Place] = {}

    def build(self, node: Node, path: KeyPath) -> Any:
        self._count += 1
        if len(path) > _MAX_DEPTH:
            raise self._error(node, "is nested too deeply")
        if self._count > _MAX_VALUES:
            raise self._error(node, "holds too many values")
        self.places.setdefault(path, self._place(node, path))
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, kind)
        raise self._error(node, "has a YAML tag that is not supported")

    def _place(self, node: Node, path: KeyPath) -> Place:
        return Place(self._file, node.start_mark.line + 1, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[Node] = []
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key in lines:
                where = ".".join(str(part) for part in (*path, key))
                raise self._error(
                    key_node, f"the key is written twice, first in line {lines[key]}",
                    where,
                )  # fmt: skip
            lines[key] = key_node.start_mark.line + 1
            self.places[(*path, key)] = self._place(key_node, (*path, key))
            values[key] = self.build(value_node, (*path, key))
        for source in merged:
            values = {**self._merged(source, path), **values}
        return values

    def _merged(self, node: Node, path: KeyPath) -> dict[str, Any]:
        """The mapping, or list of mappings, behind a merge key ``<<``."""
        if isinstance(node, SequenceNode):
            values: dict[str, Any] = {}
            for item in node.value:
                values = {**self._merged(item, (*path, "<<")), **values}
            return values
        built = self.build(node, (*path, "<<"))
        if not isinstance(built, dict):
            raise self._error(node, "a merge key (<<) needs a mapping")
        return built

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a key has to be text")
        return self._checked(node)

    def _scalar(self, node: ScalarNode, kind: str) -> Any:
        text = self._checked(node)
        if kind in {"str", "merge"}:
            return text
        try:
            return _SCALARS[kind](text)
        except (KeyError, ValueError):
            raise self._error(node, "a value doesn't fit its YAML tag") from None

    def _checked(self, node: ScalarNode) -> str:
        text = str(node.value)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise self._error(node, "a text holds half of a character (surrogate)")
        return text

    def _error(self, node: Node, text: str, key: str | None = None) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(text, source=f"{self._file}:{line}", key=key)


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _int(text: str) -> WrittenInt:
    number = WrittenInt(int(text.replace("_", ""), 0))
    number.text = text
    return number


def _float(text: str) -> WrittenFloat:
    number = WrittenFloat(text.replace(".inf", "inf").replace(".nan", "nan"))
    number.text = text
    return number


_SCALARS = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "null": lambda _: None,
}
