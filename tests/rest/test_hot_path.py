"""What is warm costs no query and no open file (issue 2, point 8; design §5)."""

from __future__ import annotations

from tests.harness import HOST, ServerCase, png


class HotPath(ServerCase):
    config = {"downloads": {"cache": {"enabled": True, "minDownloads": 2}}}

    async def costs(self) -> tuple[int, int, int]:
        """Reads, transactions and file jobs so far."""
        db = self.server.db
        return db.queries, db.transactions, self.opened

    async def setUp(self) -> None:
        await super().setUp()
        self.opened = 0
        original = self.store.open

        async def counting_open(location: str) -> object:
            self.opened += 1
            return await original(location)

        self.store.open = counting_open  # type: ignore[method-assign,assignment]

    async def test_a_warm_download_touches_neither_database_nor_disk(self) -> None:
        for data in (b"small", bytes(200_000)):
            media_id = await self.upload(data)
            for _ in range(4):
                await self.download(media_id)
            (await self.path_of(media_id)).unlink()
            before = await self.costs()
            for _ in range(3):
                answer = await self.download(media_id)
                self.assertEqual((answer.status, answer.body), (200, data))
            legacy = f"/_matrix/media/v3/download/{HOST}/{media_id}"
            self.assertEqual((await self.get(legacy)).body, data)
            part = await self.download(media_id, headers={"Range": "bytes=1-3"})
            self.assertEqual((part.status, part.body), (206, data[1:4]))
            self.assertEqual(await self.costs(), before)

    async def test_a_warm_thumbnail_touches_neither_database_nor_disk(self) -> None:
        media_id = await self.upload(png(300, 300))
        first = await self.thumbnail(media_id)
        for _ in range(4):
            await self.thumbnail(media_id)
        for path in self.files():
            path.unlink()
        before = await self.costs()
        for _ in range(3):
            self.assertEqual((await self.thumbnail(media_id)).body, first.body)
        self.assertEqual(await self.costs(), before)

    async def test_304_needs_no_content_at_all(self) -> None:
        media_id = await self.upload(b"data")
        etag = (await self.download(media_id)).headers["etag"]
        before = await self.costs()
        answer = await self.download(media_id, headers={"If-None-Match": etag})
        self.assertEqual(answer.status, 304)
        self.assertEqual(await self.costs(), before)

    async def test_one_download_doesnt_make_content_hot(self) -> None:
        media_id = await self.upload(b"data")
        await self.download(media_id)
        self.assertEqual(len(self.server.content_cache), 0)
        (await self.path_of(media_id)).unlink()
        self.assertEqual((await self.download(media_id)).status, 404)

    async def test_the_warm_way_keeps_the_restrictions(self) -> None:
        media_id = await self.upload(b"data")
        for _ in range(4):
            await self.download(media_id)
        legacy = f"/_matrix/media/v3/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(legacy, token=None)).status, 404)
        await self.quarantine(media_id)
        self.assertEqual((await self.download(media_id)).status, 404)

    async def test_last_access_is_written_in_batches(self) -> None:
        media_id = await self.upload(b"data")
        for _ in range(5):
            await self.download(media_id)
        before = self.server.db.transactions
        await self.server.last_access.flush()
        self.assertEqual(self.server.db.transactions, before + 1)
        await self.server.last_access.flush()
        self.assertEqual(self.server.db.transactions, before + 1)

    async def test_the_cache_can_be_turned_off(self) -> None:
        self.config = {"downloads": {"cache": {"enabled": False}}}
        await self.stop_server()
        self.write_config(self.homeserver.url)
        await self.start_server()
        media_id = await self.upload(b"data")
        for _ in range(8):
            self.assertEqual((await self.download(media_id)).body, b"data")
        (await self.path_of(media_id)).unlink()
        self.assertEqual((await self.download(media_id)).status, 404)
