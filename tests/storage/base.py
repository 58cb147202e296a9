"""The same tests on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from mmr.config.database import DatabaseConfig
from mmr.storage import Database, open_database
from mmr.storage.media import MediaRecord
from mmr.util.clock import Clock

from tests.postgres import create_database


class StorageTestCase(TestCase):
    """A test with databases; each engine's class says where they are."""

    __test__: ClassVar[bool] = False

    def setUp(self) -> None:
        self.settings = self.make_settings()

    def make_settings(self) -> DatabaseConfig:
        """An empty database."""
        raise NotImplementedError

    async def open(self, settings: DatabaseConfig | None = None) -> Database:
        """Open the test's database; the clean-up closes it."""
        db = open_database(settings or self.settings, reactor, Clock(reactor))  # type: ignore[arg-type]
        self.addCleanup(lambda: ensureDeferred(db.close()))
        await db.start()
        return db


class OnSqlite(StorageTestCase):
    """Runs the tests on SQLite."""

    def make_settings(self) -> DatabaseConfig:
        return DatabaseConfig(sqlite=Path(self.mktemp()).absolute())


class OnPostgres(StorageTestCase):
    """Runs the tests on PostgreSQL."""

    def make_settings(self) -> DatabaseConfig:
        return DatabaseConfig(postgres=create_database())


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
