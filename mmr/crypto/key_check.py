"""Compares our signing key with what the homeserver publishes (R60)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmr.crypto.keys import SigningKey

_CONSEQUENCE = (
    "Other servers will refuse our requests, so their media can't be fetched."
)


def check_own_key(
    server_name: str, path: str, key: SigningKey, document: Mapping[str, Any]
) -> list[str]:
    """What is wrong with a signing key; empty when all is well.

    Args:
        server_name: The homeserver, as configured.
        path: The key file, as configured.
        key: The key that signs: the first one of the file.
        document: What the homeserver answers to ``/_matrix/key/v2/server``.

    Returns:
        Sentences for the log: which file and key, what is published, what comes of it
        and what to do.
    """
    published_name = document.get("server_name")
    if published_name != server_name:
        return [
            f"{path}: the homeserver configured as {server_name} publishes the keys of"
            f" {published_name!r}. {_CONSEQUENCE} Is csApi of {server_name} right?"
        ]
    published = _keys(document, "verify_keys")
    if published.get(key.key_id) == key.verify_key.text:
        return []
    return [
        f"{path}: {_mismatch(key, published, document)}, the keys that {server_name}"
        f" publishes are {', '.join(sorted(published)) or 'none'}. {_CONSEQUENCE} Set"
        f" signingKeyPath of {server_name} to the homeserver's current key file, or"
        " have the homeserver publish this key."
    ]


def _mismatch(
    key: SigningKey, published: Mapping[str, str], document: Mapping[str, Any]
) -> str:
    if key.key_id in published:
        return f"the key {key.key_id} is another one than is published under that id"
    if key.key_id in _keys(document, "old_verify_keys"):
        return f"the key {key.key_id} is an old one of the homeserver"
    return f"the key {key.key_id} isn't published"


def _keys(document: Mapping[str, Any], section: str) -> dict[str, str]:
    """Public keys without padding, by key id."""
    listed = document.get(section)
    return {
        key_id: entry["key"].rstrip("=")
        for key_id, entry in (listed if isinstance(listed, dict) else {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("key"), str)
    }
