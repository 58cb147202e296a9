"""A server with an admin of each kind, and media of other servers."""

from __future__ import annotations

from typing import Any

from tests.harness import HOST, Answer, ServerCase
from tests.storage.base import media_record

FAR = "far.example"
LOCAL_ADMIN = "@local:media.example"
V1 = "/_synapse/admin/v1"
DAY_MS = 24 * 3600 * 1000


class SynapseAdminCase(ServerCase):
    """Asks as repository admin unless told otherwise."""

    async def setUp(self) -> None:
        await super().setUp()
        self.homeserver.users["local-token"] = LOCAL_ADMIN
        self.homeserver.admins.add(LOCAL_ADMIN)

    def write_config(self, cs_api: str) -> None:
        domain = {"name": HOST, "csApi": cs_api, "adminApiKind": "synapse"}
        self.config = {**self.config, "homeservers": [domain]}  # type: ignore[misc]
        super().write_config(cs_api)

    async def call(
        self, method: str, path: str, token: str | None = "admin-token", **more: Any
    ) -> Answer:
        return await self.request(method, V1 + path, token=token, **more)

    async def ask(
        self, method: str, path: str, token: str = "admin-token"
    ) -> dict[str, Any]:
        """A call that succeeds."""
        answer = await self.call(method, path, token)
        assert answer.status == 200, answer
        value: dict[str, Any] = answer.json
        return value

    async def fetched(self, media_id: str, data: bytes, **changes: Any) -> None:
        """Media of another server, as if it had been fetched."""
        writer = await self.store.create()
        await writer.write(data)
        sha256_hash = await writer.seal()
        location = f"re/mo/{sha256_hash[:40]}"
        await writer.publish(location)
        values: dict[str, Any] = {
            "origin": FAR,
            "user_id": "",
            "sha256_hash": sha256_hash,
            "size_bytes": len(data),
            "location": location,
            "datastore_id": "folder",
            "creation_ts": self.server.clock.time_ms(),
        }
        record = media_record(media_id, **{**values, **changes})
        await self.server.db.interaction(
            "t", self.server.stores.media.insert_media_txn, record
        )

    async def last_access(self, media_id: str, ts: int, origin: str = HOST) -> None:
        """As if the media had been stored and last asked for then."""
        await self.server.last_access.flush()
        record = await self.server.stores.media.get_media(origin, media_id)
        assert record is not None

        def txn(txn: Any) -> None:
            txn.execute(
                "UPDATE last_access SET last_access_ts = ? WHERE sha256_hash = ?",
                (ts, record.sha256_hash),
            )
            txn.execute(
                "UPDATE media SET creation_ts = ? WHERE media_id = ?", (ts, media_id)
            )

        await self.server.db.interaction("t", txn)

    async def is_quarantined(self, media_id: str) -> bool:
        return (await self.record(media_id)).quarantined

    async def exists(self, media_id: str, origin: str = HOST) -> bool:
        return await self.server.stores.media.get_media(origin, media_id) is not None
