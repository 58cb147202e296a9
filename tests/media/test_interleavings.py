"""Uploads, deletions, sweeps and crashes in any order never lose a byte (R95, R101).

The real pipeline runs against a real database, but each of its transactions and each
change of the datastore waits until hypothesis lets it happen: so every interleaving of
several processes can come up, at each point where one could be interrupted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor
from twisted.python.failure import Failure

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import MemoryObject, ObjectMissing
from mmr.errors import MatrixError
from mmr.limits.quotas import QuotaReservation, UserLimits
from mmr.media.commit import ObjectCommitter
from mmr.media.rows import NewMedia, NewMediaRows
from mmr.media.sweep import Sweep
from mmr.storage import migrations
from mmr.storage.engines import SqliteEngine
from mmr.storage.intents import IntentStore
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.object_deletes import ObjectDeleteStore
from mmr.storage.pending import PendingStore
from mmr.storage.quotas import QuotaStore
from mmr.storage.transaction import Transaction
from mmr.util.clock import Clock

ORIGIN = "media.example"
USERS = ("@alice:media.example", "@bob:media.example")
CONTENTS = (b"one", b"two")


class Crash(BaseException):
    """The process ends here; what it would still do never happens."""


class Steps:
    """What is about to happen, until somebody says when."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self._is_crashing = False

    def crash(self) -> None:
        """Nothing of what waits will happen, nor what would follow from it."""
        self._is_crashing = True
        waiting, self.waiting = self.waiting, []
        for _, turn in waiting:
            turn.errback(Crash())
        self._is_crashing = False

    async def take(self, action: Callable[[], Any]) -> Any:
        if self._is_crashing:
            raise Crash
        turn: Deferred[Any] = Deferred()
        self.waiting.append((action, turn))
        return await turn

    def let_happen(self, number: int) -> None:
        action, turn = self.waiting.pop(number % len(self.waiting))
        try:
            result = action()
        except Exception:
            turn.errback(Failure())
        else:
            turn.callback(result)


class SteppedDatabase:
    """SQLite, one transaction a step."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self._engine = SqliteEngine(path)
        self._connection = self._engine.connect()
        self._connection.execute("PRAGMA synchronous=OFF")
        self._steps = steps

    async def interaction(self, desc: str, func: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._steps.take(lambda: self.now(func, *args, **kwargs))

    def now(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(self._engine.begin)
        try:
            result = func(Transaction(self._engine, cursor), *args, **kwargs)
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        return result

    def close(self) -> None:
        self._connection.close()


class SteppedStore:
    """A datastore in memory, one change a step."""

    id = "main"
    is_foreign = False

    def __init__(self, steps: Steps) -> None:
        self.objects: dict[str, bytes] = {}
        self._steps = steps

    def location_of(self, object_name: str) -> str:
        return object_name

    async def open(self, location: str) -> MemoryObject:
        data = await self._steps.take(lambda: self.objects.get(location))
        if data is None:
            raise ObjectMissing(location)
        return MemoryObject(data)

    async def publish(self, location: str, data: bytes) -> None:
        await self._steps.take(lambda: self.objects.update({location: data}))

    async def delete(self, location: str) -> bool:
        gone = await self._steps.take(lambda: self.objects.pop(location, None))
        return gone is not None

    async def sweep_temporary(self, older_than_s: float) -> int:
        return 0

    def find(self, datastore_id: str) -> SteppedStore:
        return self

    def __iter__(self) -> Iterator[SteppedStore]:
        yield self


class SteppedWriter:
    """A sealed temporary file."""

    location = None

    def __init__(self, store: SteppedStore, data: bytes) -> None:
        self.size = len(data)
        self._store = store
        self._data = data

    async def seal(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    async def publish(self, location: str) -> None:
        await self._store.publish(location, self._data)

    async def discard(self) -> None:
        """Nothing is on disk."""


@lru_cache(maxsize=1)
def empty_database() -> bytes:
    """The file of a database with the schema only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "db")
        migrations.prepare(SqliteEngine(path))
        return path.read_bytes()


class Interleavings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        path = Path(self.folder, "db")
        path.write_bytes(empty_database())
        os.chmod(path, 0o600)
        self.steps = Steps()
        self.db = SteppedDatabase(path, self.steps)
        self.store = SteppedStore(self.steps)
        self.ids = IdGenerator(0, Clock(cast(Any, FakeReactor())))
        self.media = MediaStore(cast(Any, self.db))
        intents = IntentStore(cast(Any, self.db))
        deletes = ObjectDeleteStore(cast(Any, self.db))
        self.sweeper = Sweep(intents, deletes, cast(Any, self.store))
        self.committer = ObjectCommitter(
            cast(Any, self.db), self.media, intents, cast(Any, self.store), self.ids
        )
        self.acknowledged: set[str] = set()
        self.deleted: set[str] = set()
        self.unexpected: list[Failure] = []

    def teardown(self) -> None:
        self.steps.crash()
        self.db.close()
        shutil.rmtree(self.folder)

    @rule(user=st.sampled_from(USERS), data=st.sampled_from(CONTENTS))
    def upload(self, user: str, data: bytes) -> None:
        new = NewMedia(ORIGIN, self.ids.unique_id(), "", "image/png", user, True, False)
        rows = NewMediaRows(
            new,
            stores=(
                self.media,
                MediaIdStore(cast(Any, self.db)),
                PendingStore(cast(Any, self.db)),
            ),
            reservation=QuotaReservation(cast(QuotaStore, None), user, UserLimits()),
            now_ms=0,
        )
        writer = SteppedWriter(self.store, data)
        running = Deferred.fromCoroutine(
            self.committer.commit(writer, cast(Any, self.store), rows)
        )

        # A deletion between its look-up and its answer came after it.
        def acknowledge(record: MediaRecord) -> None:
            if record.media_id not in self.deleted:
                self.acknowledged.add(record.media_id)

        running.addCallback(acknowledge).addErrback(self.is_refusal)

    def is_refusal(self, failure: Failure) -> None:
        """503 because of a sweep or a deletion is an answer; all else is a bug."""
        is_503 = failure.check(MatrixError) and failure.value.status == 503  # type: ignore[union-attr]
        if not (is_503 or failure.check(Crash)):
            self.unexpected.append(failure)

    def start(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(self.is_refusal)

    @rule()
    def sweep(self) -> None:
        """The most impatient sweeper: it takes even what is still under way."""
        self.start(self.sweeper.sweep(-1))

    @rule()
    def delete_objects(self) -> None:
        self.start(self.sweeper.delete_queued())

    @rule(number=st.integers(0, 50))
    def delete_media(self, number: int) -> None:
        if self.acknowledged:
            media_id = sorted(self.acknowledged)[number % len(self.acknowledged)]
            self.acknowledged.remove(media_id)
            self.deleted.add(media_id)
            self.db.now(self.media.delete_media_txn, ORIGIN, media_id)

    @rule()
    def crash(self) -> None:
        """Whoever was at it never comes back."""
        self.steps.crash()

    @rule(numbers=st.lists(st.integers(0, 20), min_size=1, max_size=4))
    def let_happen(self, numbers: list[int]) -> None:
        for number in numbers:
            if self.steps.waiting:
                self.steps.let_happen(number)
            self.check_objects()

    @invariant()
    def check_objects(self) -> None:
        """What a record names is there, and what was acknowledged has a record."""
        assert not self.unexpected, self.unexpected[0].getTraceback()
        records = self.db.now(_all_records)
        for record in records:
            data = self.store.objects.get(record.location)
            assert data is not None, "a referenced object was deleted"
            assert hashlib.sha256(data).hexdigest() == record.sha256_hash
        assert self.acknowledged <= {record.media_id for record in records}

    @rule()
    def settle(self) -> None:
        """When all is done and swept, only what records name is left."""
        while self.steps.waiting:
            self.steps.let_happen(0)
        for work in (self.sweep, self.delete_objects):
            work()
            while self.steps.waiting:
                self.steps.let_happen(0)
        named = {record.location for record in self.db.now(_all_records)}
        assert set(self.store.objects) == named


def _all_records(txn: Transaction) -> list[MediaRecord]:
    store = MediaStore(cast(Any, None))
    return [
        record
        for data in CONTENTS
        for record in store.records_with_hash_txn(txn, hashlib.sha256(data).hexdigest())
    ]


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=120, stateful_step_count=60)
