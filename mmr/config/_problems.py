"""Saying what is wrong: which file, which key, what was found, what is expected.

Values of secret keys are never repeated (R106).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from mmr.config._base import Mark, Section, settings_of
from mmr.config._yaml import KeyPath, Place
from mmr.errors import ConfigError

_MAX_SHOWN = 60
_WORDS = {
    "missing": "is missing",
    "model_type": "expected a section (key: value)",
    "model_attributes_type": "expected a section (key: value)",
    "tuple_type": "expected a list",
}


def key_text(path: Sequence[str | int]) -> str:
    """A key's path as operators write it: ``datastores[0].opts.path``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def locate(path: KeyPath, places: Mapping[KeyPath, Place]) -> tuple[str | None, str]:
    """Where a key is written, and what its file calls it.

    A key that is not written anywhere is looked for in the section around it.
    """
    for length in range(len(path), -1, -1):
        if place := places.get(path[:length]):
            return str(place), key_text((*place.path, *path[length:]))
    return None, key_text(path)


def error_at(
    path: KeyPath, places: Mapping[KeyPath, Place], message: str
) -> ConfigError:
    """An error that names the place and the key."""
    source, key = locate(path, places)
    return ConfigError(message, source=source, key=key or None)


def warning_at(path: KeyPath, places: Mapping[KeyPath, Place], message: str) -> str:
    """A warning that names the place and the key."""
    return str(error_at(path, places, message))


def describe(value: Any, *, show: bool = True) -> str:
    """What was found, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    kind = "the text" if isinstance(value, str) else "the number"
    if not show:
        return kind.replace("the", "a", 1)
    shown = str(getattr(value, "text", value))
    shown = f"{shown[:_MAX_SHOWN]}…" if len(shown) > _MAX_SHOWN else shown
    return f"{kind} {shown!r}" if isinstance(value, str) else f"{kind} {shown}"


def sentence(error: Mapping[str, Any], *, show: bool = True) -> str:
    """The words for one of pydantic's errors."""
    words = _WORDS.get(error["type"], str(error["msg"]))
    if error["type"] in {"missing", "problem"}:
        return words
    # A scalar where a section belongs may be a secret in the wrong place.
    show = show and error["type"] == "expected"
    return f"found {describe(error['input'], show=show)}, {words}"


def errors_of(
    error: ValidationError, model: type[Section], places: Mapping[KeyPath, Place]
) -> Iterator[ConfigError]:
    """Translate what pydantic found into errors for the operator."""
    for detail in error.errors(include_url=False):
        path = detail["loc"]
        message = sentence(detail, show=not _is_secret(model, path))
        if inner := detail.get("ctx", {}).get("key"):
            path = (*path, *inner)
        yield error_at(path, places, message)


def _is_secret(model: type[Section], path: Sequence[str | int]) -> bool:
    at: type[Section] | None = model
    for part in (part for part in path if isinstance(part, str)):
        found = settings_of(at).get(part) if at else None
        if found is None:
            return False
        if found.marks & {Mark.SECRET, Mark.OPAQUE}:
            return True
        at = found.model
    return False


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise one error that tells every problem once, a line each."""
    unique = {str(error): error for error in errors}
    if len(unique) == 1:
        raise next(iter(unique.values()))
    if unique:
        raise ConfigError("\n".join(unique))
