"""The sweep never acts on half of what there is to know (R95)."""

from __future__ import annotations

from typing import Any, ClassVar

from mmr.storage.intents import Intent
from mmr.storage.objects import ObjectName

from tests.harness import ServerCase

TABLES = ("media", "thumbnails", "export_parts")


class BlindSweep(ServerCase):
    __test__: ClassVar[bool] = False

    async def leave_an_object(self) -> None:
        """As a process does that dies between the object and its row."""
        writer = await self.store.create(9)
        await writer.write(b"left here")
        sha256 = await writer.seal()
        location = self.store.location_of(self.server.ids.object_name())
        name = ObjectName(self.store.id, location)
        await self.server.stores.intents.add(Intent(name, sha256))
        await writer.publish(location)

    async def rename(self, table: str, new: str) -> None:
        def rename_txn(txn: Any) -> None:
            txn.execute(f"ALTER TABLE {table} RENAME TO {new}", ())

        await self.server.db.interaction("rename", rename_txn)

    async def sweep(self) -> None:
        await self.server.sweep.sweep(older_than_s=-1)
        await self.server.sweep.delete_queued()

    async def test_a_table_that_cannot_be_read(self) -> None:
        for table in TABLES:
            await self.leave_an_object()
            await self.rename(table, "hidden")
            with self.assertRaises(self.server.db.engine.error):
                await self.sweep()
            self.assertEqual(len(self.files()), 1, table)
            self.assertEqual(await self.count("mmr_object_intents"), 1)
            self.assertEqual(await self.count("mmr_object_deletes"), 0)
            await self.rename("hidden", table)
            await self.sweep()
            self.assertEqual(self.files(), [], table)
            self.assertEqual(await self.count("mmr_object_intents"), 0)


class BlindOnSqlite(BlindSweep):
    __test__ = True


class BlindOnPostgres(BlindSweep):
    __test__ = True
    engine = "postgres"
