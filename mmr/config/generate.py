"""A file to start from, made from the declarations."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from mmr.config._base import Mark, Section, Setting, settings_of
from mmr.config._words import default_of, inline
from mmr.config.root import Config

_WIDTH = 78
_HEAD = """\
# Configuration of mmr. A key behind a # shows its default, or an example where there is
# no default. docs/configuration.md tells more about each.

"""


def generate_config(
    server_name: str = "localhost",
    *,
    cs_api: str = "http://127.0.0.1:8008",
    bind_address: str = "127.0.0.1",
    store_path: str = "media",
    port: int = 8000,
    appservice_token: str | None = None,
) -> str:
    """A commented YAML file: SQLite, one folder.

    Args:
        server_name: The homeserver's name.
        cs_api: Base URL of its client-server API.
        bind_address: Where the server listens.
        store_path: Folder of the media, relative to the working directory.
        appservice_token: Also let in a local appservice with this token, which may
            act as any user of the server; for trying things out.
    """
    store = {
        "type": "file",
        "id": "main",
        "forKinds": ["all"],
        "opts": {"path": store_path},
    }
    values: dict[str, Any] = {
        "repo": {"bindAddress": bind_address, "port": port},
        "database": {"sqlite": "mmr.db"},
        "homeservers": [{"name": server_name, "csApi": cs_api}],
        "datastores": [store],
    }
    if appservice_token is not None:
        values["accessTokens"] = _local_access(server_name, appservice_token)
    return _HEAD + "\n".join(_root(values))


def _local_access(server_name: str, token: str) -> dict[str, Any]:
    server = server_name.replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")
    return {
        # The cache has to be on: MMR looks at appservices only then.
        "maxCacheTimeSeconds": 43200,
        "useLocalAppserviceConfig": True,
        "appservices": [
            {
                "id": "local",
                "asToken": token,
                "senderUserId": f"@mmr:{server_name}",
                "userNamespaces": [{"regex": f"@.*:{server}"}],
            }
        ],
    }


def _root(values: dict[str, Any]) -> Iterator[str]:
    settings = settings_of(Config)
    first = [settings[key] for key in values]
    for setting in first + [other for other in settings.values() if other not in first]:
        if Mark.LEGACY not in setting.marks:
            yield from _key(Config, setting, values)
            yield ""


def _section(model: type[Section], values: dict[str, Any]) -> Iterator[str]:
    for setting in settings_of(model).values():
        if Mark.LEGACY not in setting.marks:
            yield from _key(model, setting, values)


def _key(
    parent: type[Section], setting: Setting, values: dict[str, Any]
) -> Iterator[str]:
    model = parent.section_behind(setting, values)
    value = values.get(setting.key)
    yield from _comment(setting)
    if model and not setting.is_list:
        yield f"{setting.key}:"
        yield from (f"  {line}" for line in _section(model, value or {}))
    elif value is None:
        yield f"#{setting.key}: {inline(_sample(setting))}"
    elif model:
        yield f"{setting.key}:"
        for item in value:
            lines = list(_section(model, item))
            yield from (
                f"  {'  ' if index else '- '}{line}" for index, line in enumerate(lines)
            )
    else:
        yield f"{setting.key}: {inline(value)}"


def _comment(setting: Setting) -> Iterator[str]:
    text = setting.field.description
    if text is None and setting.model:
        text = inspect.cleandoc(setting.model.__doc__ or "").split("\n\n")[0]
    for line in textwrap.wrap(text or "", _WIDTH, break_on_hyphens=False):
        yield f"# {line}"


def _sample(setting: Setting) -> Any:
    default = default_of(setting.field)
    if default in (None, "", [], {}):
        return (setting.field.examples or [default])[0]
    return default
