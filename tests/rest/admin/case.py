"""Admins of every kind, and media for them to act on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.harness import ADMIN, HOST, SHARED_SECRET, ServerCase
from tests.wire import Answer

MEDIA = "/_matrix/media/unstable"
LOCAL_ADMIN = f"@carol:{HOST}"
ROOM = "!room/with?odd#signs%:media.example"
TOKENS = {
    "shared secret": SHARED_SECRET,
    "repository admin": "admin-token",
    "local admin": "carol-token",
    "uploader": "alice-token",
    "user": "bob-token",
    "guest": "guest-token",
    "nobody": None,
}


class AdminCase(ServerCase):
    """A homeserver of the kind ``synapse`` with an admin of its own."""

    async def setUp(self) -> None:
        await super().setUp()
        self.homeserver.users["carol-token"] = LOCAL_ADMIN
        self.homeserver.admins |= {LOCAL_ADMIN, ADMIN}

    def write_config(self, cs_api: str) -> None:
        homeserver = {"name": HOST, "csApi": cs_api, "backoffAt": 10}
        self.config = {
            **self.config,
            "homeservers": [{**homeserver, "adminApiKind": "synapse"}],
        }
        super().write_config(cs_api)

    async def post(self, path: str, **kwargs: Any) -> Answer:
        """A call of an admin endpoint, by default a repository admin's."""
        kwargs.setdefault("token", "admin-token")
        return await self.request("POST", f"{MEDIA}/admin/{path}", **kwargs)

    async def read(self, path: str, **kwargs: Any) -> Answer:
        """Likewise, for reading."""
        kwargs.setdefault("token", "admin-token")
        return await self.get(f"{MEDIA}/admin/{path}", **kwargs)

    async def insert_remote(
        self, media_id: str, origin: str = "remote.example", **changes: Any
    ) -> None:
        """Let a local upload be as if it had been fetched from another server."""
        values = {"origin": origin, "user_id": "", **changes}
        settings = ", ".join(f"{name} = ?" for name in values)
        await self.execute(
            f"UPDATE media SET {settings} WHERE media_id = ?",
            (*values.values(), media_id),
        )

    async def execute(self, sql: str, params: tuple[Any, ...] = ()) -> None:
        """Change the database behind the server's back."""
        await self.server.db.interaction("test", lambda txn: txn.execute(sql, params))
        self.server.media_records.clear()

    async def objects(self) -> set[str]:
        """The locations of the files, once queued deletions are done."""
        await self.server.sweep.delete_queued()
        return {str(path.relative_to(self.media_folder)) for path in self.files()}

    async def check_consistent(self) -> None:
        """Every record has its object, and every object a record."""
        named = set()
        for table in ("media", "thumbnails"):
            rows = await self.server.db.fetch_all(
                "test", f"SELECT location FROM {table} WHERE location <> ''"
            )
            named |= {row[0] for row in rows}
        self.assertEqual(await self.objects(), named)


def path_of(text: str) -> str:
    """As one segment of a path."""
    return quote(text, safe="")
