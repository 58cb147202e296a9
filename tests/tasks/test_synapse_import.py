"""Synapse's rows in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from mmr.interop.media_folder import MediaFolder
from mmr.interop.stored_bytes import StoredBytes
from mmr.interop.synapse_database import SynapseDatabase, SynapseMedia
from mmr.media.adopted import AdoptedMedia
from mmr.tasks.synapse_import import PREVIEWS, UNFINISHED, SynapseImport, adopted
from mmr.types import Mxc

from tests.datastores.fakes import Foreground
from tests.interop.fake_synapse import WHEN, FakeSynapse
from tests.interop.synapse_tables import insert

SERVER = "one.test"


def row(**values: Any) -> SynapseMedia:
    described: dict[str, Any] = {
        "mxc": Mxc(SERVER, "abcdefg"),
        "is_local": True,
        "file_id": "abcdefg",
        "content_type": "image/png",
        "size_bytes": 5,
        "created_ts": WHEN,
        "upload_name": "cat.png",
        "user_id": "@alice:one.test",
        "url_cache": None,
        "last_access_ts": WHEN + 1,
        "quarantined_by": None,
        "is_protected": False,
        "requires_auth": True,
        "sha256_hash": "ab" * 32,
    }
    return SynapseMedia(**{**described, **values})


def test_a_row_keeps_all_it_says() -> None:
    assert adopted(row()) == AdoptedMedia(
        origin=SERVER,
        media_id="abcdefg",
        content_type="image/png",
        upload_name="cat.png",
        user_id="@alice:one.test",
        creation_ts=WHEN,
        last_access_ts=WHEN + 1,
        requires_auth=True,
        expected_sha256="ab" * 32,
        expected_bytes=5,
    )


def test_flags_of_moderation_come_along() -> None:
    assert adopted(row(quarantined_by="@mod:one.test")).is_quarantined
    assert adopted(row(is_protected=True)).is_protected
    assert not adopted(row(requires_auth=False)).requires_auth


def test_what_is_quarantined_and_protected_stays_quarantined() -> None:
    both = adopted(row(quarantined_by="system", is_protected=True))
    assert both.is_quarantined
    assert not both.is_protected


def test_gaps_are_filled_as_for_uploads() -> None:
    bare = adopted(row(content_type="", sha256_hash=None, upload_name="a\0b"))
    assert bare.content_type == "application/octet-stream"
    assert bare.expected_sha256 is None
    assert bare.upload_name == "ab"
    assert adopted(row(sha256_hash="nonsense")).expected_sha256 is None


class BatchesTests(TestCase):
    def setUp(self) -> None:
        self.synapse = FakeSynapse(Path(self.mktemp()).absolute(), SERVER)
        self.addCleanup(self.synapse.database.close)

    def source(self, with_remote: bool = False) -> SynapseImport:
        database = SynapseDatabase(self.synapse.database, SERVER)
        content = StoredBytes(MediaFolder([self.synapse.store]), None)
        return SynapseImport(
            database, content, with_remote=with_remote, threads=Foreground()
        )

    async def test_previews_and_unfinished_uploads_stay_behind(self) -> None:
        self.synapse.add("finished", b"bytes")
        table = "local_media_repository"
        insert(self.synapse.database, table, media_id="reserved", created_ts=1)
        insert(
            self.synapse.database,
            table,
            media_id="2020-08-17_abcdef",
            media_length=1,
            url_cache="https://example.org/",
        )
        [batch] = [batch async for batch in self.source().batches()]
        [media] = batch.media
        self.assertEqual(media.media.media_id, "finished")
        self.assertEqual(batch.skipped, {PREVIEWS: 1, UNFINISHED: 1})
        self.assertEqual(await self.source().count(), 3)

    async def test_remote_media_moves_when_it_is_asked_for(self) -> None:
        self.synapse.add("local1", b"ours")
        self.synapse.add_remote("two.test", "remote1", b"theirs")
        self.assertEqual(await self.source().count(), 1)
        source = self.source(with_remote=True)
        self.assertEqual(await source.count(), 2)
        found = {}
        async for batch in source.batches():
            for each in batch.media:
                await each.probe()
                chunks = [chunk async for chunk in each.chunks()]
                found[str(each.media.mxc)] = b"".join(chunks)
        self.assertEqual(
            found,
            {"mxc://one.test/local1": b"ours", "mxc://two.test/remote1": b"theirs"},
        )

    async def test_many_small_ones_are_read_at_once(self) -> None:
        self.synapse.add("first1", b"one")
        self.synapse.add("gone1", b"lost").unlink()
        self.synapse.add_remote("two.test", "other1", b"two")
        source = self.source(with_remote=True)
        found = {}
        async for batch in source.batches():
            assert batch.read_small is not None
            read = await batch.read_small(batch.media)
            for each, data in zip(batch.media, read, strict=True):
                found[each.media.media_id] = data
        self.assertEqual(found, {"first1": b"one", "gone1": None, "other1": b"two"})
