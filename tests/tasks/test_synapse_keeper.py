"""Media goes into a Synapse: files before rows, and what can't go leaves nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.datastores.base import DatastoreError
from mmr.datastores.file import FileDatastore
from mmr.datastores.filesystem import FileSystem
from mmr.interop.foreign_database import ForeignDatabaseError
from mmr.interop.synapse_database import SynapseDatabase, SynapseMedia
from mmr.interop.synapse_rows import SynapseRows
from mmr.media.adopted import AdoptedMedia, Adoption, AdoptOutcome
from mmr.tasks.synapse_keeper import SynapseKeeper
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock

from tests.datastores.fakes import FaultyFileSystem, Foreground
from tests.interop.fake_synapse import WHEN, FakeSynapse

SERVER = "one.test"
LARGE = os.urandom(700_000)


def media(media_id: str, **values: Any) -> AdoptedMedia:
    described: dict[str, Any] = {
        "origin": SERVER,
        "content_type": "text/plain",
        "upload_name": "a name",
        "user_id": "@alice:one.test",
        "creation_ts": WHEN,
        "last_access_ts": WHEN + 1,
        "requires_auth": True,
    }
    return AdoptedMedia(media_id=media_id, **{**described, **values})


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


class Gate(Foreground):
    """Runs nothing before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[None] = Deferred()

    async def run(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        if not self.opened.called:
            waiter: Deferred[None] = Deferred()
            self.opened.chainDeferred(waiter)
            await waiter
        return await super().run(function, *args, **kwargs)


class KeeperTests(TestCase):
    def setUp(self) -> None:
        self.synapse = FakeSynapse(Path(self.mktemp()).absolute(), SERVER)
        self.addCleanup(self.synapse.database.close)
        self.keeper = self.make_keeper()

    def make_keeper(
        self, fs: FileSystem | None = None, threads: Foreground | None = None
    ) -> SynapseKeeper:
        store = FileDatastore(
            "synapse",
            frozenset(Kind),
            str(self.synapse.store),
            Foreground(),
            Clock(FakeReactor()),
            lambda: 0,
            fs,
        )
        return SynapseKeeper(
            store,
            SynapseRows(self.synapse.database, SERVER),
            SERVER,
            threads=threads or Foreground(),
            thumbnails=None,
        )

    async def put(self, item: AdoptedMedia, data: bytes) -> AdoptOutcome:
        return await self.keeper.adopt(item, pieces(data))

    def row(self, media_id: str) -> SynapseMedia:
        found = SynapseDatabase(self.synapse.database, SERVER).find_local(media_id)
        assert found is not None
        return found

    def content(self, row: SynapseMedia) -> bytes:
        return (self.synapse.store / row.path).read_bytes()

    async def test_two_runs_at_once_do_not_take_each_others_files(self) -> None:
        """The slower one's row is refused; the other's names the same path."""
        first, second = self.make_keeper(), self.make_keeper()
        put_all = second._arrivals._put_all
        outcomes: list[AdoptOutcome] = []

        async def put_late(objects: Any) -> None:
            await put_all(objects)
            outcomes.append(await first.adopt(media("shared1"), pieces(b"same")))

        with (
            mock.patch.object(second._arrivals, "_put_all", put_late),
            mock.patch.object(first._arrivals._rows, "find_taken", return_value=set()),
        ):
            outcomes.append(await second.adopt(media("shared1"), pieces(b"same")))
        words = [outcome.adoption for outcome in outcomes]
        self.assertEqual(words, [Adoption.STORED, Adoption.KNOWN])
        self.assertEqual(self.content(self.row("shared1")), b"same")

    async def test_file_and_row_are_as_synapse_has_them(self) -> None:
        for media_id, data in (("small1", b"few"), ("large1", LARGE)):
            outcome = await self.put(media(media_id), data)
            self.assertEqual(outcome, AdoptOutcome(Adoption.STORED, len(data)))
            row = self.row(media_id)
            self.assertEqual(self.content(row), data)
            self.assertEqual(row.size_bytes, len(data))
            self.assertEqual(row.created_ts, WHEN)
            self.assertEqual(row.last_access_ts, WHEN + 1)
            self.assertEqual(
                (row.user_id, row.upload_name), ("@alice:one.test", "a name")
            )
            self.assertTrue(row.requires_auth)
            self.assertFalse(row.is_quarantined)
        wanted = {Mxc(SERVER, "small1"), Mxc(SERVER, "large1")}
        asked = [*wanted, Mxc(SERVER, "other1"), Mxc("two.test", "small1")]
        self.assertEqual(await self.keeper.find_taken(asked), wanted)

    async def test_moderation_comes_along(self) -> None:
        await self.put(media("badone", is_quarantined=True), b"bad")
        await self.put(media("dearone", is_protected=True), b"dear")
        self.assertEqual(self.row("badone").quarantined_by, "system")
        self.assertTrue(self.row("dearone").is_protected)

    async def test_remote_media_gets_a_name_of_its_own_on_disk(self) -> None:
        mxc = Mxc("two.test:8448", "../../escape")
        item = media(mxc.media_id, origin=mxc.origin, user_id="")
        for data in (b"remote", b"again, after a crash"):
            self.synapse.database.rows("DELETE FROM remote_media_cache")
            outcome = await self.put(item, data)
            self.assertEqual(outcome.adoption, Adoption.STORED)
            row = SynapseDatabase(self.synapse.database, SERVER).find_remote(mxc)
            assert row is not None
            self.assertRegex(row.file_id, r"^[A-Za-z]{24}$")
            self.assertEqual(self.content(row), data)
        self.assertEqual(len(self.synapse.files()), 1)
        self.assertEqual(await self.keeper.find_taken([mxc]), {mxc})

    async def test_many_at_once_share_transactions(self) -> None:
        begun = []
        original = self.synapse.database.transaction

        def transaction() -> Any:
            begun.append(1)
            return original()

        self.patch(self.synapse.database, "transaction", transaction)
        gate = Gate()
        self.keeper = self.make_keeper(threads=gate)
        items = {f"media{number}": b"%d" % number for number in range(400)}
        puts = [
            Deferred.fromCoroutine(self.put(media(name), data))
            for name, data in items.items()
        ]
        gate.opened.callback(None)
        outcomes = await gatherResults(puts)
        self.assertEqual({each.adoption for each in outcomes}, {Adoption.STORED})
        found = {name: self.content(self.row(name)) for name in items}
        self.assertEqual(found, items)
        # Two groups begin with what is there, the others have had time to fill.
        self.assertLess(len(begun), 6)

    async def test_a_group_is_one_transaction_and_each_has_its_outcome(self) -> None:
        self.synapse.add("knownone", b"Synapse's own")
        begun = []
        original = self.synapse.database.transaction

        def transaction() -> Any:
            begun.append(1)
            return original()

        self.patch(self.synapse.database, "transaction", transaction)
        good = {f"media{number}": b"%d" % number for number in range(300)}
        files = [(media(name, expected_bytes=len(b)), b) for name, b in good.items()]
        files[100:100] = [
            (media("knownone"), b"others"),
            (media("wronghash", expected_sha256="ab" * 32), b"few"),
            (media("tooshort", expected_bytes=4), b"few"),
            (media("toolong", expected_bytes=2), b"few"),
            (media("toomuch", max_bytes=2), b"few"),
            (media("abcd"), b"no path"),
        ]
        files.append((media("remote1", origin="two.test"), b"theirs"))
        files.append((media("quarantined", is_quarantined=True), b""))
        outcomes = await self.keeper.adopt_small(files)
        found = {
            item.media_id: outcome.adoption
            for (item, _), outcome in zip(files, outcomes, strict=True)
        }
        wrong = {
            "knownone": Adoption.KNOWN,
            "wronghash": Adoption.DAMAGED,
            "tooshort": Adoption.DAMAGED,
            "toolong": Adoption.DAMAGED,
            "toomuch": Adoption.REFUSED,
            "abcd": Adoption.REFUSED,
        }
        stored = dict.fromkeys((*good, "remote1", "quarantined"), Adoption.STORED)
        self.assertEqual(found, {**stored, **wrong})
        self.assertEqual(len(begun), 1)
        self.assertEqual({n: self.content(self.row(n)) for n in good}, good)
        self.assertEqual(self.row("quarantined").quarantined_by, "system")
        self.assertEqual(self.content(self.row("knownone")), b"Synapse's own")
        self.assertEqual(len(self.synapse.files()), 303)

    async def test_nothing_is_nothing(self) -> None:
        self.assertEqual(await self.keeper.adopt_small([]), [])
        [outcome] = await self.keeper.adopt_small([(media("abcd"), b"no path")])
        self.assertEqual(outcome.adoption, Adoption.REFUSED)

    async def test_of_an_id_that_comes_twice_the_first_is_kept(self) -> None:
        files = [
            (media("twice1"), b"first"),
            (media("once1"), b"once"),
            (media("twice1"), b"second"),
            (media("once2"), b"once more"),
        ]
        outcomes = await self.keeper.adopt_small(files)
        self.assertEqual(
            [each.adoption for each in outcomes],
            [Adoption.STORED, Adoption.STORED, Adoption.KNOWN, Adoption.STORED],
        )
        self.assertEqual(self.content(self.row("twice1")), b"first")
        self.assertEqual(len(self.synapse.files()), 3)

    async def test_so_it_is_in_two_groups_at_the_same_time(self) -> None:
        gate = Gate()
        self.keeper = self.make_keeper(threads=gate)
        puts = [
            Deferred.fromCoroutine(self.keeper.adopt_small([(media("twice1"), data)]))
            for data in (b"first", b"second", b"third")
        ]
        gate.opened.callback(None)
        outcomes = [each.adoption for [each] in await gatherResults(puts)]
        self.assertEqual(outcomes, [Adoption.STORED, Adoption.KNOWN, Adoption.KNOWN])
        self.assertEqual(self.content(self.row("twice1")), b"first")

    async def test_of_a_group_only_the_row_that_is_refused_is_left_out(self) -> None:
        self.synapse.database.rows(
            "CREATE TRIGGER t BEFORE INSERT ON local_media_repository"
            " WHEN new.media_length > 5 BEGIN"
            " SELECT RAISE(ABORT, 'integer out of range'); END"
        )
        files = [(media(f"media{number}"), b"%d" % number) for number in range(100)]
        files[42] = (media("large1"), b"123456")
        outcomes = await self.keeper.adopt_small(files)
        refused = outcomes.pop(42)
        self.assertEqual(refused.adoption, Adoption.REFUSED)
        self.assertIn("integer out of range", refused.detail)
        self.assertEqual({each.adoption for each in outcomes}, {Adoption.STORED})
        self.assertEqual(len(self.synapse.files()), 99)

    async def test_a_group_on_a_full_disk_ends_it_without_a_row(self) -> None:
        """R97."""
        self.keeper = self.make_keeper(FaultyFileSystem("write", errno.ENOSPC, after=5))
        files = [(media(f"media{number}"), b"few") for number in range(20)]
        with self.assertRaises(DatastoreError):
            await self.keeper.adopt_small(files)
        taken = await self.keeper.find_taken([item.mxc for item, _ in files])
        self.assertEqual((taken, self.synapse.files()), (set(), set()))
        # The ids are free for the next try.
        self.keeper = self.make_keeper()
        outcomes = await self.keeper.adopt_small(files)
        self.assertEqual({each.adoption for each in outcomes}, {Adoption.STORED})

    async def test_a_file_without_a_row_is_replaced(self) -> None:
        for media_id, data in (("small1", b"few"), ("large1", LARGE)):
            place = f"local_content/{media_id[:2]}/{media_id[2:4]}/{media_id[4:]}"
            self.synapse.write(place, b"left by a run that was killed")
            await self.put(media(media_id), data)
            self.assertEqual(self.content(self.row(media_id)), data)

    async def test_what_synapse_has_is_left_alone(self) -> None:
        for media_id, data in (("small1", b"few"), ("large1", LARGE)):
            self.synapse.add(media_id, b"Synapse's own")
            outcome = await self.put(media(media_id), data)
            self.assertEqual(outcome.adoption, Adoption.KNOWN)
            self.assertEqual(self.content(self.row(media_id)), b"Synapse's own")

    async def test_bytes_that_are_not_the_announced_ones_leave_nothing(self) -> None:
        for data in (b"few", LARGE):
            for wrong in (
                {"expected_sha256": "ab" * 32},
                {"expected_bytes": len(data) + 1},
                {"expected_bytes": len(data) - 1},
            ):
                outcome = await self.put(media("wrong1", **wrong), data)
                self.assertEqual(outcome.adoption, Adoption.DAMAGED, wrong)
        self.assertEqual(self.synapse.files(), set())
        self.assertEqual(await self.keeper.find_taken([Mxc(SERVER, "wrong1")]), set())

    async def test_an_id_that_makes_no_path_is_refused(self) -> None:
        """R71."""
        for media_id in ("abcd", "..", "....x"):
            outcome = await self.put(media(media_id), b"few")
            self.assertEqual(outcome.adoption, Adoption.REFUSED)
            self.assertIn("can't be a part of a path", outcome.detail)

    async def test_a_row_that_the_database_refuses_is_named_alone(self) -> None:
        self.synapse.database.rows(
            "CREATE TRIGGER t BEFORE INSERT ON local_media_repository"
            " WHEN new.media_length > 5 BEGIN"
            " SELECT RAISE(ABORT, 'integer out of range'); END"
        )
        puts = [
            Deferred.fromCoroutine(self.put(media(name), data))
            for name, data in (("good1", b"1"), ("toolong", b"123456"), ("good2", b"2"))
        ]
        first, refused, last = await gatherResults(puts)
        self.assertEqual(refused.adoption, Adoption.REFUSED)
        self.assertIn("integer out of range", refused.detail)
        self.assertEqual((first.adoption, last.adoption), (Adoption.STORED,) * 2)
        self.assertEqual(len(self.synapse.files()), 2)

    async def test_a_database_that_is_gone_ends_it(self) -> None:
        self.synapse.database.rows("DROP TABLE local_media_repository")
        with self.assertRaises(ForeignDatabaseError):
            await self.put(media("small1"), b"few")
        # The queue works on for whoever comes next.
        with self.assertRaises(ForeignDatabaseError):
            await self.put(media("small2"), b"few")

    async def test_a_full_disk_ends_it_without_a_row(self) -> None:
        """R97."""
        self.keeper = self.make_keeper(FaultyFileSystem("write", errno.ENOSPC))
        for data in (b"few", LARGE):
            with self.assertRaises(DatastoreError):
                await self.put(media("small1"), data)
        self.assertEqual(await self.keeper.find_taken([Mxc(SERVER, "small1")]), set())
        self.flushLoggedErrors()

    async def test_root_gives_files_to_the_owner_of_the_folder(self) -> None:
        given: dict[str, tuple[int, int]] = {}

        def chown(path: str, uid: int, gid: int) -> None:
            given[os.path.relpath(path, self.synapse.store)] = (uid, gid)

        with (
            mock.patch("os.geteuid", return_value=0),
            mock.patch("os.chown", chown),
        ):
            await self.put(media("abcdef"), b"few")
        owner = self.synapse.store.stat()
        self.assertEqual(
            given,
            dict.fromkeys(
                (
                    "local_content",
                    "local_content/ab",
                    "local_content/ab/cd",
                    "local_content/ab/cd/ef",
                ),
                (owner.st_uid, owner.st_gid),
            ),
        )
