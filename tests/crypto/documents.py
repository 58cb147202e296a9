"""Key documents for tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mmr.crypto.key_fetchers import KeysUnavailable
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


class FakeSource:
    """Documents that servers publish; a server without one doesn't answer."""

    def __init__(self) -> None:
        self.published: dict[str, dict[str, Any] | Exception] = {}
        self.asked: list[str] = []
        self.hanging: dict[str, Deferred[None]] = {}

    async def fetch(self, server_name: str) -> dict[str, Any]:
        self.asked.append(server_name)
        if server_name in self.hanging:
            await self.hanging[server_name]
        answer = self.published.get(server_name, KeysUnavailable("down"))
        if isinstance(answer, Exception):
            raise answer
        return answer
