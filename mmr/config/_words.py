"""Settings as text: type names and values, for the manual and the generated file."""

from __future__ import annotations

import json
import typing
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mmr.config._base import Section
from mmr.config._values import Named


def type_name(field: FieldInfo) -> str:
    """What the operator is told about a key's type."""
    names = [mark.name for mark in field.metadata if isinstance(mark, Named)]
    return names[-1] if names else _annotation_name(field.annotation)


def _annotation_name(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return next(mark.name for mark in reversed(parts) if isinstance(mark, Named))
    if origin is tuple:
        return f"list: {_annotation_name(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "sections"
    if origin is dict:
        return "mapping"
    return _annotation_name(parts[0])


def inline(value: Any) -> str:
    """A value as YAML on one line."""
    return json.dumps(_plain(value), ensure_ascii=False)


def default_of(field: FieldInfo) -> Any:
    """The default as plain values; None when there is none."""
    return None if field.default is PydanticUndefined else _plain(field.default)


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(by_alias=True)
    if isinstance(value, tuple | frozenset):
        return [_plain(item) for item in value]
    return value
