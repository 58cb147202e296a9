"""The same tests on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mmr.storage import Database, open_database
from mmr.storage.media import MediaRecord
from mmr.util.clock import Clock

from tests.postgres import create_database


@attrs.frozen
class PoolSettings:
    """``database.pool``."""

    max_connections: int = 8
    max_idle_connections: int = 8


@attrs.frozen
class DatabaseSettings:
    """``database``."""

    sqlite: Path | None = None
    postgres: str | None = None
    pool: PoolSettings = PoolSettings()


class StorageTestCase(TestCase):
    """A test with databases; each engine's class says where they are."""

    __test__: ClassVar[bool] = False

    def setUp(self) -> None:
        self.settings = self.make_settings()

    def make_settings(self) -> DatabaseSettings:
        """An empty database."""
        raise NotImplementedError

    async def open(self, settings: DatabaseSettings | None = None) -> Database:
        """Open the test's database; the clean-up closes it."""
        db = open_database(settings or self.settings, reactor, Clock(reactor))  # type: ignore[arg-type]
        self.addCleanup(lambda: _as_deferred(db))
        await db.start()
        return db


def _as_deferred(db: Database) -> object:
    from twisted.internet.defer import ensureDeferred

    return ensureDeferred(db.close())


class OnSqlite(StorageTestCase):
    """Runs the tests on SQLite."""

    def make_settings(self) -> DatabaseSettings:
        return DatabaseSettings(sqlite=Path(self.mktemp()))


class OnPostgres(StorageTestCase):
    """Runs the tests on PostgreSQL."""

    def make_settings(self) -> DatabaseSettings:
        return DatabaseSettings(postgres=create_database())


def media_record(media_id: str = "abc", **changes: object) -> MediaRecord:
    """A record with plausible values."""
    record = MediaRecord(
        origin="example.org",
        media_id=media_id,
        upload_name="cat.png",
        content_type="image/png",
        user_id="@alice:example.org",
        sha256_hash="a" * 64,
        size_bytes=100,
        location="ab/cd/ef",
        creation_ts=1_700_000_000_000,
        quarantined=False,
        datastore_id="main",
        requires_auth=False,
    )
    return attrs.evolve(record, **changes)  # type: ignore[arg-type]
