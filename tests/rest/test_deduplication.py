"""Equal content is stored once, on both engines (mmr-http-api.md §4.3.1)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults

from tests.harness import ServerCase, png

DATA = b"the very same bytes" * 10


class DeduplicationCases(ServerCase):
    __test__: ClassVar[bool] = False

    async def test_the_very_same_upload_gives_the_same_address(self) -> None:
        first = await self.upload(DATA, "image/png", "a.png")
        self.assertEqual(await self.upload(DATA, "image/png", "a.png"), first)
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(len(self.files()), 1)

    async def test_anything_else_gets_its_own_record_and_shares_the_object(
        self,
    ) -> None:
        """D51."""
        ids = [
            await self.upload(DATA, "image/png", "a.png"),
            await self.upload(DATA, "image/jpeg", "a.png"),
            await self.upload(DATA, "image/png", "b.png"),
            await self.upload(DATA, "image/png"),
            await self.upload(DATA, "image/png", "a.png", token="bob-token"),
        ]
        self.assertEqual(len(set(ids)), 5)
        self.assertEqual(await self.count("media"), 5)
        self.assertEqual(len(self.files()), 1)
        answer = await self.download(ids[1])
        self.assertEqual(answer.headers["content-type"], "image/jpeg")
        self.assertEqual(answer.body, DATA)

    async def test_the_totals_count_an_object_once(self) -> None:
        await self.upload(DATA)
        await self.upload(DATA, token="bob-token")
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual(totals["folder"].size_bytes, len(DATA))
        self.assertEqual(totals["folder"].objects, 1)

    async def test_equal_uploads_at_once_end_as_one_object(self) -> None:
        """R101."""
        tokens = ["alice-token", "bob-token"] * 8
        uploads = [
            Deferred.fromCoroutine(self.upload(DATA, token=token)) for token in tokens
        ]
        ids = await gatherResults(uploads)
        self.assertEqual(len(set(ids[::2])), 1)
        self.assertEqual(len(set(ids[1::2])), 1)
        self.assertEqual(await self.count("media"), 2)
        await self.server.sweep.delete_queued()
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        for media_id in set(ids):
            self.assertEqual((await self.download(media_id)).body, DATA)

    async def test_an_async_upload_keeps_its_own_address(self) -> None:
        await self.upload(DATA)
        media_id = await self.create()
        self.assertEqual((await self.put(media_id, DATA)).status, 200)
        self.assertEqual((await self.download(media_id)).body, DATA)
        self.assertEqual(await self.count("media"), 2)
        self.assertEqual(len(self.files()), 1)

    async def test_an_object_that_is_missing_is_not_shared(self) -> None:
        """A new upload of the bytes brings them back for itself."""
        lost = await self.upload(DATA)
        (await self.path_of(lost)).unlink()
        again = await self.upload(DATA, token="bob-token")
        self.assertNotEqual(again, lost)
        self.assertEqual((await self.download(again)).body, DATA)
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_an_object_of_another_length_is_not_shared(self) -> None:
        """R102."""
        cut = await self.upload(DATA)
        (await self.path_of(cut)).write_bytes(DATA[:-1])
        again = await self.upload(DATA, token="bob-token")
        self.assertEqual((await self.download(again)).body, DATA)

    async def test_the_uploader_gets_lost_bytes_back_by_uploading_again(self) -> None:
        """The same address, whose bytes are gone, would be a lie: 200 means stored."""
        lost = await self.upload(DATA, "image/png", "a.png")
        (await self.path_of(lost)).unlink()
        self.assertEqual((await self.download(lost)).status, 404)
        again = await self.upload(DATA, "image/png", "a.png")
        self.assertEqual(again, lost)
        self.assertEqual((await self.download(lost)).body, DATA)
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual(totals["folder"].objects, 1)

    async def test_a_thumbnail_and_an_upload_of_the_same_bytes_share(self) -> None:
        picture = png(16, 16)
        media_id = await self.upload(picture)
        self.assertEqual((await self.thumbnail(media_id)).body, picture)
        await self.upload(picture, token="bob-token")
        self.assertEqual(len(self.files()), 1)


class DeduplicationOnSqlite(DeduplicationCases):
    __test__ = True


class DeduplicationOnPostgres(DeduplicationCases):
    __test__ = True
    engine = "postgres"
