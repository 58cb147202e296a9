"""Key documents for tests."""

from __future__ import annotations

from typing import Any

from mmr.crypto.keys import SigningKey
from mmr.crypto.signing import sign_json

WEEK_MS = 7 * 24 * 3600 * 1000


def document(
    server_name: str, *keys: SigningKey, valid_until: int = WEEK_MS, **more: Any
) -> dict[str, Any]:
    """What a server with these keys publishes."""
    value: dict[str, Any] = {
        "server_name": server_name,
        "valid_until_ts": valid_until,
        "verify_keys": {key.key_id: {"key": key.verify_key.text} for key in keys},
        "old_verify_keys": {},
        **more,
    }
    for key in keys:
        value = sign_json(value, server_name, key)
    return value
