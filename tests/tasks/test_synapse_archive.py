"""An archive in Synapse: what is there is known, what a bucket has is copied."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.datastores.file import FileDatastore
from mmr.interop.foreign_database import ForeignDatabaseError
from mmr.interop.synapse_rows import SynapseRows
from mmr.media.adopted import AdoptedMedia, Adoption, compare
from mmr.tasks.synapse_archive import ArchivedIntoSynapse
from mmr.tasks.synapse_keeper import SynapseKeeper
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock

from tests.datastores.fakes import Foreground
from tests.interop.fake_synapse import FakeSynapse
from tests.interop.synapse_tables import insert

SERVER = "one.test"


def media(media_id: str, **values: Any) -> AdoptedMedia:
    described = {"origin": SERVER, "content_type": "text/plain", "creation_ts": 1}
    return AdoptedMedia(media_id=media_id, **{**described, **values})


class ArchiveTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.synapse = FakeSynapse(self.folder, SERVER)
        self.addCleanup(self.synapse.database.close)
        keeper = SynapseKeeper(
            self.store(self.synapse.store),
            SynapseRows(self.synapse.database, SERVER),
            SERVER,
            threads=Foreground(),
            thumbnails=None,
        )
        self.archived = ArchivedIntoSynapse(keeper, requires_auth=True)

    def store(self, folder: Path) -> FileDatastore:
        return FileDatastore(
            folder.name,
            frozenset(Kind),
            str(folder),
            Foreground(),
            Clock(FakeReactor()),
            lambda: 0,
        )

    async def test_what_synapse_has_is_known_by_hash_or_size(self) -> None:
        self.synapse.add("withhash", b"content")
        self.synapse.add("without", b"content", sha256=None)
        insert(self.synapse.database, "local_media_repository", media_id="reserved")
        ids = ("withhash", "without", "reserved", "absent")
        found = await self.archived.get_several([Mxc(SERVER, each) for each in ids])
        self.assertEqual({mxc.media_id for mxc in found}, set(ids[:3]))
        sha256 = hashlib.sha256(b"content").hexdigest()
        for media_id, wrong, wanted in (
            ("withhash", {}, Adoption.KNOWN),
            ("withhash", {"expected_sha256": "ab" * 32}, Adoption.CONFLICT),
            ("without", {"expected_sha256": "ab" * 32}, Adoption.KNOWN),
            ("without", {"expected_bytes": 8}, Adoption.CONFLICT),
            ("reserved", {}, Adoption.CONFLICT),
        ):
            described = {"expected_sha256": sha256, "expected_bytes": 7, **wrong}
            item = media(media_id, **described)
            outcome = compare(item, found[item.mxc])
            self.assertEqual(outcome.adoption, wanted, (media_id, wrong))

    async def test_all_of_it_is_for_users_if_it_is_said_so(self) -> None:
        files = [(media(f"media{number}"), b"%d" % number) for number in range(3)]
        outcomes = await self.archived.adopt_small(files)
        self.assertEqual([each.adoption for each in outcomes], [Adoption.STORED] * 3)
        found = await self.archived.get_several([item.mxc for item, _ in files])
        self.assertEqual({each.requires_auth for each in found.values()}, {True})

    async def test_a_database_that_gives_up_is_told_in_its_own_words(self) -> None:
        files = [(media(f"media{number}"), b"%d" % number) for number in range(3)]
        self.synapse.database.close()
        with self.assertRaisesRegex(ForeignDatabaseError, "homeserver.db"):
            await self.archived.adopt_small(files)

    async def test_objects_of_mmrs_own_are_copied(self) -> None:
        bucket = self.folder / "bucket"
        bucket.mkdir()
        (bucket / "object").write_bytes(b"content")
        store = self.store(bucket)
        item = media("located")
        outcome = await self.archived.adopt_located(item, store, "object")
        self.assertEqual(outcome.adoption, Adoption.STORED)
        [path] = self.synapse.files()
        self.assertEqual(path.read_bytes(), b"content")
        lost = await self.archived.adopt_located(media("another"), store, "gone")
        self.assertEqual(lost.adoption, Adoption.DAMAGED)
        self.assertIn("has no object gone", lost.detail)
