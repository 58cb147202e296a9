"""What every section of the configuration is made of.

A section is a frozen pydantic model. Each key is declared once, with its default, its
effect and an example; the loader, the generated file and the manual all read that one
declaration.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo


class Mark(enum.Enum):
    """What is special about a key."""

    SECRET = "secret"  # noqa: S105
    """Never shown; may come from a file named by the same key with ``Path``."""
    OPAQUE = "opaque"
    """May hold secrets in places that we don't know. Never shown."""
    RELATIVE = "relative"
    """A path that is relative to the folder of the file that it is written in."""
    MAIN_ONLY = "main only"
    """Can't be set per domain (MMR reference §7)."""
    RESTART = "restart"
    """A change takes effect with a restart of the process."""
    LEGACY = "legacy"
    """Kept for older files; left out of generated ones."""
    INTERNAL = "internal"
    """Not a key of the file."""


class Section(BaseModel):
    """One mapping of the file. Attributes are snake_case, keys are camelCase."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    RETIRED: ClassVar[dict[str, str]] = {}
    """Keys that older files may hold and that have no effect, with the advice."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """A key without a value keeps its default (MMR reference §1.1)."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @classmethod
    def section_behind(
        cls, key: Setting, values: dict[str, Any]
    ) -> type[Section] | None:
        """The section of a key's value, given its neighbours."""
        return key.model


def setting(default: Any, effect: str, example: Any, *marks: Mark, **more: Any) -> Any:
    """Declare a key.

    Args:
        default: The value when the key is absent; ``...`` when it is required.
        effect: What it does, for the operator. Shown in the manual and in the
            generated file.
        example: A value that is not the default.
        marks: What is special about it.
        more: Passed on to pydantic, such as ``alias``.
    """
    return Field(
        default,
        description=effect,
        examples=[example],
        repr=not {Mark.SECRET, Mark.OPAQUE} & set(marks),
        json_schema_extra={"marks": [mark.value for mark in marks]},
        **more,
    )


def section(model: type[Section], *marks: Mark, **more: Any) -> Any:
    """Declare a section of its own; its docstring tells what it is for."""
    return Field(
        default_factory=model,
        json_schema_extra={"marks": [mark.value for mark in marks]},
        **more,
    )


@attrs.frozen
class Setting:
    """One declared key, as the loader and the manual see it.

    Attributes:
        key: As written in the file.
        attribute: As named in Python.
        model: The section behind the key, or of each item of its list.
        is_list: The value is a list.
    """

    key: str
    attribute: str
    field: FieldInfo
    marks: frozenset[Mark]
    model: type[Section] | None
    is_list: bool


def settings_of(model: type[Section]) -> dict[str, Setting]:
    """The keys of a section, in the order of their declaration."""
    return {setting.key: setting for setting in _declared(model)}


def _declared(model: type[Section]) -> Iterator[Setting]:
    for attribute, field in model.model_fields.items():
        extra = field.json_schema_extra
        names = extra["marks"] if isinstance(extra, dict) else []
        marks = frozenset(Mark(name) for name in typing.cast(list[str], names))
        if Mark.INTERNAL not in marks:
            yield Setting(
                key=field.alias or attribute,
                attribute=attribute,
                field=field,
                marks=marks,
                model=section_in(field.annotation),
                is_list=typing.get_origin(field.annotation) is tuple,
            )


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a type is, or is a list of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for part in typing.get_args(annotation):
        if found := section_in(part):
            return found
    return None
