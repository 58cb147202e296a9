"""The manual's page about the configuration, made from the declarations.

Write it to docs/configuration.md with
``python -c 'import mmr.config; print(mmr.config.reference_markdown(), end="")'``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from mmr.config._base import Mark, Section, Setting, settings_of
from mmr.config._words import default_of, inline, type_name
from mmr.config.datastores import OPTIONS, DatastoreConfig
from mmr.config.root import Config, DomainConfig

_HEAD = """\
# Configuration

<!-- Made from the declarations in mmr/config; see mmr/config/reference.py. -->

The configuration is YAML: one file, or a folder whose `.yaml`, `.yml` and `.json` files
are read in the order of their names. The keys are those of matrix-media-repo, so its
files can be used as they are. `mmr --generate-config` prints a file to start from;
`mmr --check-config` tells every mistake in one.

- **Where it is.** The environment variable `REPO_CONFIG`, else the option `-c`, else
  `media-repo.yaml` in the working directory.
- **Several files.** A later file is laid over the earlier: sections merge key by key,
  lists are replaced whole.
- **Domains.** A file with the key `homeserver: example.org` counts for that server name
  alone. It may hold the keys of an entry of `homeservers` at its top, and the sections
  that are marked *per domain* below; keys that it leaves out are inherited. Its
  `datastores` replace the main ones.
- **Secrets.** A secret can be kept in a file of its own, named by the same key with
  `Path` at the end.
- **Mistakes.** A wrong value stops the start; on a reload the old configuration stays.
  An unknown key is a warning.
- **Changes** count without a restart, but for the keys marked *restart*.

The environment variable `MACHINE_ID` (0 to 1023, default 0) tells the processes of one
cluster apart; process 0 runs the background tasks.
"""
_TABLE = """\
| key | type | default | example | effect |
| --- | --- | --- | --- | --- |"""


def reference_markdown() -> str:
    """The page: every key with type, default, example and effect."""
    return "\n".join([_HEAD, *_root()])


def _root() -> Iterator[str]:
    per_domain = settings_of(DomainConfig)
    for setting in sorted(
        settings_of(Config).values(), key=lambda s: s.key in per_domain
    ):
        yield f"## `{setting.key}`\n"
        if setting.key in per_domain:
            yield "*Per domain.*\n"
        if setting.model:
            yield f"{_intro(setting.model)}\n"
        rows = list(_rows(setting, ""))
        if rows:
            yield "\n".join([_TABLE, *rows, ""])


def _rows(
    setting: Setting, prefix: str, outer: frozenset[Mark] = frozenset()
) -> Iterator[str]:
    """The row of a key and those of the keys in it."""
    key = f"{prefix}{setting.key}"
    marks = setting.marks | outer
    if setting.model is None or setting.is_list:
        yield _row(setting, key, marks)
    if setting.model:
        inside = f"{key}[]." if setting.is_list else f"{key}."
        for inner in settings_of(setting.model).values():
            yield from _rows(inner, inside, marks & {Mark.MAIN_ONLY, Mark.RESTART})
    if setting.model is DatastoreConfig:
        for kind, model in OPTIONS.items():
            for option in settings_of(model).values():
                yield _row(option, f"{key}[].opts.{option.key} ({kind})", marks)


def _row(setting: Setting, key: str, marks: frozenset[Mark]) -> str:
    field = setting.field
    default = default_of(field)
    shown = "–" if default is None else f"`{inline(default)}`"
    cells = (
        f"`{key}`",
        type_name(field),
        "required" if field.is_required() else shown,
        f"`{inline((field.examples or [None])[0])}`",
        " ".join([field.description or "", *_notes(marks)]),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _notes(marks: frozenset[Mark]) -> Iterator[str]:
    if Mark.MAIN_ONLY in marks:
        yield "*Not per domain.*"
    if Mark.RESTART in marks:
        yield "*Restart.*"


def _intro(model: type[Section]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`")
