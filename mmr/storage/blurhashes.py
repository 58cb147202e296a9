"""Blurhashes of stored content (MSC2448): table ``mmr_blurhashes``."""

from __future__ import annotations

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction


class BlurhashStore:
    """Reads and writes blurhashes, by the SHA-256 of what they stand for."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_blurhash(self, sha256_hash: str) -> str | None:
        """The blurhash of this content, if it has one."""
        row = await self._db.fetch_one(
            "get_blurhash",
            "SELECT blurhash FROM mmr_blurhashes WHERE sha256_hash = ?",
            (sha256_hash,),
        )
        return row[0] if row else None

    async def put_blurhash(self, sha256_hash: str, blurhash: str) -> None:
        """Keep a blurhash; the first one stays."""

        def put_blurhash_txn(txn: Transaction) -> None:
            txn.execute(
                "INSERT INTO mmr_blurhashes (sha256_hash, blurhash) VALUES (?, ?)"
                " ON CONFLICT (sha256_hash) DO NOTHING",
                (sha256_hash, blurhash),
            )

        await self._db.interaction("put_blurhash", put_blurhash_txn)

    async def delete_orphans(self, limit: int) -> int:
        """Delete blurhashes of content that no media has any more.

        Returns:
            How many there were, ``limit`` at most.
        """

        def delete_orphans_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM mmr_blurhashes WHERE sha256_hash IN"
                " (SELECT b.sha256_hash FROM mmr_blurhashes AS b WHERE NOT EXISTS"
                " (SELECT 1 FROM media AS m WHERE m.sha256_hash = b.sha256_hash)"
                " LIMIT ?)",
                (limit,),
            )
            return txn.rowcount

        return await self._db.interaction("delete_blurhashes", delete_orphans_txn)
