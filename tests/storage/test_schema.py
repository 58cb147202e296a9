"""The schema on empty databases, and the adoption of MMR's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2

from twisted.internet.defer import ensureDeferred, gatherResults

from mmr.config.database import DatabaseConfig
from mmr.errors import ConfigError, StartupError
from mmr.storage import Database, Transaction, migrations
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.datastores import DatastoreStore
from mmr.storage.engines import PostgresEngine, SqliteEngine
from mmr.storage.media import MediaStore
from mmr.storage.migrations import Delta, deltas
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailStore
from mmr.types import Method

from tests.postgres import create_database
from tests.storage.base import OnPostgres, OnSqlite, StorageTestCase, media_record

_DATA = Path(__file__).parent / "data"

# Tables of MMR after its migration 29, columns in physical order.
_MMR_TABLES = {
    "gomigrate": "id migration_id",
    "media": "origin media_id upload_name content_type user_id sha256_hash size_bytes"
    " location creation_ts quarantined datastore_id",
    "thumbnails": "origin media_id width height method content_type size_bytes"
    " location creation_ts animated sha256_hash datastore_id",
    "url_previews": "url error_code bucket_ts site_url site_name resource_type"
    " description title image_mxc image_type image_size image_width image_height"
    " language_header",
    "last_access": "sha256_hash last_access_ts",
    "user_stats": "user_id uploaded_bytes",
    "background_tasks": "id task params start_ts end_ts error",
    "reserved_media": "origin media_id reason",
    "media_id_hold": "origin media_id reason held_ts",
    "expiring_media": "origin media_id user_id expires_ts",
    "media_attributes": "origin media_id purpose",
    "restricted_media": "origin media_id condition_type condition_value",
    "exports": "export_id entity",
    "export_parts": "export_id index size_bytes file_name datastore_id location",
    "datastores": "datastore_id ds_type uri",
}
_MMR_INDEXES = set(
    "media_index idx_sha256_hash_media idx_origin_media idx_origin_user_id_media"
    " idx_user_id_media idx_datastore_id_location_media idx_datastore_id_media"
    " thumbnails_index idx_sha256_hash_thumbnails idx_origin_thumbnails"
    " idx_creation_ts_thumbnails idx_datastore_id_location_thumbnails"
    " idx_datastore_id_thumbnails url_previews_index last_access_index"
    " datastores_index reserved_media_index export_parts_index idx_media_attributes"
    " idx_media_attributes_purpose idx_expiring_media idx_expiring_media_user_id"
    " idx_expiring_media_expires_ts idx_media_id_hold idx_restricted_media".split()
)


async def tables_of(db: Database) -> dict[str, str]:
    """MMR's tables as they are: name → columns in physical order."""
    if db.engine.name == "sqlite":
        sql = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
    else:
        sql = (
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = ? ORDER BY ordinal_position"
        )
    return {
        table: " ".join(row[0] for row in await db.fetch_all("t", sql, (table,)))
        for table in _MMR_TABLES
    }


class SchemaTests(StorageTestCase):
    async def test_an_empty_database_gets_the_schema_of_mmr(self) -> None:
        """MMR could open it: tables, columns in order, indexes, migrations 1 to 29."""
        db = await self.open()
        self.assertEqual(await tables_of(db), _MMR_TABLES)
        source = "pg_indexes" if db.engine.name == "postgres" else "sqlite_master"
        column = "indexname" if db.engine.name == "postgres" else "name"
        rows = await db.fetch_all("t", f"SELECT {column} FROM {source}")
        self.assertEqual(_MMR_INDEXES - {row[0] for row in rows}, set())
        rows = await db.fetch_all("t", "SELECT id, migration_id FROM gomigrate")
        self.assertEqual(sorted(rows), [(n, n) for n in range(1, 30)])

    async def test_starting_again_changes_nothing(self) -> None:
        first = await self.open()
        await first.interaction("t", MediaStore(first).insert_media_txn, media_record())
        await first.close()
        second = await self.open()
        self.assertIsNotNone(await MediaStore(second).get_media("example.org", "abc"))

    async def test_several_processes_may_start_at_once(self) -> None:
        databases = await gatherResults([ensureDeferred(self.open()) for _ in range(4)])
        rows = await databases[0].fetch_all("t", "SELECT * FROM mmr_schema_version")
        self.assertEqual(len(rows), len(deltas("own")))

    async def test_a_newer_database_is_refused_with_both_versions(self) -> None:
        """R103."""
        db = await self.open()
        await db.interaction(
            "t", _execute, "INSERT INTO mmr_schema_version VALUES (999, 0)"
        )
        await db.close()
        newest = deltas("own")[-1].number
        with self.assertRaisesRegex(StartupError, rf"version 999.* up to {newest}\b"):
            await self.open()

    async def test_a_step_is_taken_whole_or_not_at_all(self) -> None:
        """R103: each in a transaction."""
        await (await self.open()).close()
        script = "CREATE TABLE half_made (x BIGINT);\nINSERT INTO nowhere VALUES (1)"
        broken = Delta(deltas("own")[-1].number + 1, "broken", script)
        patch = self.patch(
            migrations,
            "deltas",
            lambda folder: [*deltas(folder), *([broken] if folder == "own" else [])],
        )
        with self.assertRaisesRegex(Exception, "nowhere"):
            await self.open()
        patch.restore()
        db = await self.open()
        is_there = await db.interaction("t", lambda txn: txn.has_table("half_made"))
        self.assertFalse(is_there)

    async def test_another_programs_database_is_refused(self) -> None:
        engine = (
            PostgresEngine(self.settings.postgres)
            if self.settings.postgres
            else SqliteEngine(self.settings.sqlite or Path())
        )
        connection = engine.connect()
        connection.cursor().execute("CREATE TABLE media (x TEXT)")
        connection.close()
        with self.assertRaisesRegex(StartupError, "another program"):
            await self.open()

    async def test_the_trigger_keeps_the_bytes_of_each_user(self) -> None:
        db = await self.open()
        store = MediaStore(db)
        for media_id, size in ("a", 100), ("b", 20), ("c", 3):
            record = media_record(media_id, size_bytes=size)
            await db.interaction("t", store.insert_media_txn, record)
        await db.interaction("t", store.delete_media_txn, "example.org", "a")
        change = "UPDATE media SET {} WHERE media_id = '{}'"
        await db.interaction("t", _execute, change.format("user_id = '@bob'", "b"))
        await db.interaction("t", _execute, change.format("size_bytes = 5", "c"))
        await db.interaction("t", _execute, change.format("quarantined = TRUE", "c"))
        rows = await db.fetch_all("t", "SELECT user_id, uploaded_bytes FROM user_stats")
        self.assertEqual(sorted(rows), [("@alice:example.org", 5), ("@bob", 20)])


class SqliteSchemaTests(SchemaTests, OnSqlite):
    __test__ = True

    async def test_a_folder_that_is_missing_is_named(self) -> None:
        settings = DatabaseConfig(sqlite=Path("/nonexistent/folder/mmr.db"))
        with self.assertRaisesRegex(StartupError, "/nonexistent/folder/mmr.db"):
            await self.open(settings)

    async def test_a_file_that_is_no_database_is_refused(self) -> None:
        path = Path(self.mktemp())
        with open(path, "w") as file:  # noqa: ASYNC230
            file.write("This is not a database. " * 100)
        with self.assertRaisesRegex(StartupError, "not a database"):
            await self.open(DatabaseConfig(sqlite=path))

    async def test_only_the_owner_can_read_the_file(self) -> None:
        await self.open()
        assert self.settings.sqlite is not None
        self.assertEqual(self.settings.sqlite.stat().st_mode & 0o777, 0o600)


class PostgresSchemaTests(SchemaTests, OnPostgres):
    __test__ = True

    async def test_the_trigger_has_the_names_that_mmr_uses(self) -> None:
        db = await self.open()
        row = await db.fetch_one(
            "t",
            "SELECT t.tgname, p.proname FROM pg_trigger AS t"
            " JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal",
        )
        self.assertEqual(row, ("media_change_for_user", "track_update_user_media"))

    async def test_a_server_that_is_not_there_is_told(self) -> None:
        settings = DatabaseConfig(postgres="postgres://x@127.0.0.1:1/x")
        with self.assertRaisesRegex(StartupError, "(?s)can't be opened.*127.0.0.1"):
            await self.open(settings)

    async def test_an_address_that_can_not_be_read_is_told_without_its_password(
        self,
    ) -> None:
        for address in "postgres://u:secret@h:p:p/x?y", "postgres://u:secret@[h/x":
            with self.assertRaisesRegex(ConfigError, r"database\.postgres") as caught:
                await self.open(DatabaseConfig(postgres=address))
            self.assertNotIn("secret", str(caught.exception))

    async def test_a_user_without_rights_is_told(self) -> None:
        assert self.settings.postgres is not None
        connection = psycopg2.connect(self.settings.postgres)
        name = self.settings.postgres.rpartition("/")[2].partition("?")[0]
        connection.cursor().execute(f"CREATE ROLE guest_of_{name} LOGIN")
        connection.commit()
        connection.close()
        url = self.settings.postgres.replace("mmr@", f"guest_of_{name}@")
        with self.assertRaisesRegex(StartupError, "permission denied for schema"):
            await self.open(DatabaseConfig(postgres=url))

    def test_tls_is_required_unless_the_address_says_otherwise(self) -> None:
        """As in MMR."""
        engine = PostgresEngine("postgres://mmr@localhost/mmr")
        self.assertEqual(engine._options["sslmode"], "require")
        engine = PostgresEngine("postgres://mmr@localhost/mmr?sslmode=disable")
        self.assertEqual(engine._options["sslmode"], "disable")


class AdoptionTests(OnPostgres):
    """MMR's databases are opened in place."""

    __test__ = True

    def _adopt(self, file: str) -> tuple[DatabaseConfig, dict[str, list[Any]]]:
        url = create_database()
        connection = psycopg2.connect(url)
        connection.cursor().execute((_DATA / file).read_text())
        connection.commit()
        rows = rows_of(connection)
        connection.close()
        return DatabaseConfig(postgres=url), rows

    async def _open(self, settings: DatabaseConfig) -> Database:
        db = await self.open(settings)
        self.assertEqual(await tables_of(db), _MMR_TABLES)
        return db

    async def test_every_row_of_1_3_is_still_there(self) -> None:
        settings, before = self._adopt("mmr_1_3.sql")
        await self._open(settings)
        connection = psycopg2.connect(settings.postgres)
        after = rows_of(connection)
        connection.close()
        self.assertEqual({table: after[table] for table in before}, before)

    async def test_every_row_of_1_2_is_still_there(self) -> None:
        """But blurhashes, which MMR's own migration 27 drops."""
        settings, before = self._adopt("mmr_1_2.sql")
        await self._open(settings)
        connection = psycopg2.connect(settings.postgres)
        after = rows_of(connection)
        connection.close()
        del before["blurhashes"]
        before["gomigrate"] = [str((n, n)) for n in range(1, 30)]
        tasks = [row[:-1] for row in before["background_tasks"]]
        before["background_tasks"] = [
            (row.replace("None", "0") + ", '')") for row in tasks
        ]
        self.assertEqual(
            {table: sorted(after[table]) for table in before},
            {table: sorted(rows) for table, rows in before.items()},
        )

    async def test_records_of_mmr_are_read(self) -> None:
        settings, _ = self._adopt("mmr_1_3.sql")
        db = await self._open(settings)
        record = await MediaStore(db).get_media("example.org", "one")
        assert record is not None
        self.assertEqual((record.size_bytes, record.location), (1000, "aa/bb/one"))
        self.assertTrue(record.requires_auth)
        key = ThumbnailKey("example.org", "two", 96, 96, Method.CROP, True)
        thumbnail = await ThumbnailStore(db).get_thumbnail(key)
        assert thumbnail is not None
        self.assertEqual(thumbnail.location, "ff/ee/thumb")
        remote = await MediaStore(db).get_media("remote.example", "three")
        assert remote is not None
        self.assertTrue(remote.quarantined)

    async def test_totals_are_counted_once_on_adoption(self) -> None:
        settings, _ = self._adopt("mmr_1_3.sql")
        store = DatastoreStore(await self._open(settings))
        self.assertEqual(
            await store.get_totals(),
            {
                "store1": DatastoreTotal(1300, 2),
                "store2": DatastoreTotal(50, 2),
                "store3": DatastoreTotal(500, 1),
            },
        )
        self.assertEqual(await store.get_ids_in_use(), {"store1", "store2", "store3"})
        uris = {"/var/media": "store1", "s3://s3.example.com/bucket": "store2"}
        self.assertEqual(await store.get_ids_by_uri(), uris)

    async def test_any_gap_in_the_migrations_is_filled(self) -> None:
        """MMR looks at each number by itself."""
        for missing in (29, 25, 22, 17, 15, 7, 3):
            url = create_database()
            await (await self._open(DatabaseConfig(postgres=url))).close()
            connection = psycopg2.connect(url)
            connection.cursor().execute(
                f"DELETE FROM gomigrate WHERE migration_id = {missing}"
            )
            connection.commit()
            db = await self._open(DatabaseConfig(postgres=url))
            row = await db.fetch_one(
                "t", "SELECT COUNT(*), MAX(migration_id) FROM gomigrate"
            )
            self.assertEqual(row, (29, 29))
            await db.close()
            connection.close()

    async def test_migrations_of_a_later_mmr_are_left_alone(self) -> None:
        settings, _ = self._adopt("mmr_1_3.sql")
        connection = psycopg2.connect(settings.postgres)
        connection.cursor().execute("INSERT INTO gomigrate (migration_id) VALUES (30)")
        connection.commit()
        connection.close()
        db = await self._open(settings)
        row = await db.fetch_one("t", "SELECT COUNT(*) FROM gomigrate")
        self.assertEqual(row, (30,))

    async def test_rows_of_before_1_0_get_their_datastore(self) -> None:
        """Only those below a configured folder (storage reference 4.1)."""
        settings, _ = self._adopt("mmr_1_2.sql")
        db = await self._open(settings)
        store = DatastoreStore(db)
        folders = {"/srv/old media": "store1", "/srv": "wrong", "/mnt": "wrong"}
        self.assertEqual(await store.convert_absolute_locations(folders), 2)
        record = await MediaStore(db).get_media("example.org", "ancient")
        assert record is not None
        self.assertEqual(
            (record.datastore_id, record.location), ("store1", "12/34/ancient")
        )
        self.assertEqual(
            await store.get_ids_in_use(), {"", "store1", "store2", "store3"}
        )
        totals = await store.get_totals()
        self.assertEqual(totals["store1"], DatastoreTotal(1310, 4))
        folders = {"/mnt/other/": "store2"}
        self.assertEqual(await store.convert_absolute_locations(folders), 1)
        self.assertNotIn("", await store.get_ids_in_use())


def rows_of(connection: Any) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    cursor = connection.cursor()
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = {}
    for (table,) in cursor.fetchall():
        cursor.execute(f"SELECT * FROM {table}")
        found[table] = [str(row) for row in cursor.fetchall()]
    return found


def _execute(txn: Transaction, sql: str) -> None:
    txn.execute(sql)
