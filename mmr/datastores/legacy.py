"""Datastores of configurations from before datastores had ids (mmr-config §4.5)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmr.config.datastores import DatastoreConfig
from mmr.errors import StartupError


def uri_of(entry: DatastoreConfig) -> str:
    """What MMR 1.2 wrote into ``datastores.uri`` for such an entry."""
    opts = entry.opts
    if entry.type == "file":
        return opts["path"]
    region = opts.get("region", "")
    suffix = f"?region={region}" if region else ""
    return f"s3://{opts['endpoint']}/{opts['bucketName']}{suffix}"


def id_of(entry: DatastoreConfig, legacy_ids: Mapping[str, str]) -> str:
    """The entry's id: its own, else the one that the database has for its place.

    Args:
        entry: From the configuration.
        legacy_ids: The table ``datastores``: ``uri`` to ``datastore_id``.

    Raises:
        StartupError: when neither is there.
    """
    if entry.id is not None:
        return entry.id
    uri = uri_of(entry)
    for known, datastore_id in legacy_ids.items():
        if known == uri or _same_folder(known, uri):
            return datastore_id
    raise StartupError(
        f"datastores: the {entry.type} datastore {uri} has no id, and the database "
        "knows no datastore at that place. Add a line such as `id: main` to the "
        "entry; the id must never change afterwards."
    )


def _same_folder(left: str, right: str) -> bool:
    return "://" not in right and os.path.normpath(left) == os.path.normpath(right)
