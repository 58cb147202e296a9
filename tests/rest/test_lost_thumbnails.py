"""Thumbnails whose objects are lost or damaged are drawn again (R102, design §6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults

from mmr.datastores.base import DatastoreError
from mmr.storage.thumbnails import ThumbnailRecord

from tests.harness import HOST, Answer, ServerCase, png
from tests.rest.remote_case import RemoteCase

QUERY = "width=96&height=96&method=crop"


class LostThumbnails(ServerCase):
    __test__: ClassVar[bool] = False
    # Else they are found there, and nobody looks for the objects.
    config: ClassVar[dict[str, Any]] = {"downloads": {"cache": {"enabled": False}}}

    async def drawn(self, data: bytes, query: str = QUERY) -> tuple[str, Answer]:
        """A media and one thumbnail of it, which no cache has any more."""
        media_id = await self.upload(data)
        answer = await self.thumbnail(media_id, query)
        assert answer.status == 200, answer
        self.jobs = self.server.thumbnail_pool.jobs_started
        await self.cool_down()
        return media_id, answer

    async def cool_down(self) -> None:
        await self.stop_server()
        await self.start_server()

    async def rows(self, media_id: str) -> list[ThumbnailRecord]:
        return await self.server.stores.thumbnails.get_thumbnails_of(HOST, media_id)

    async def path_of_thumbnail(self, media_id: str) -> Path:
        [row] = await self.rows(media_id)
        return self.media_folder / row.location

    async def check_books(self) -> None:
        """No row without its object, no object without a row, right totals."""
        sweep = self.server.sweep
        await sweep.sweep(older_than_s=0)
        await sweep.delete_queued()
        query = "SELECT location FROM media UNION SELECT location FROM thumbnails"
        rows = await self.server.db.fetch_all("locations", query)
        named = {self.media_folder / row[0] for row in rows}
        self.assertEqual(set(self.files()), named)
        totals = await self.server.stores.datastores.get_totals()
        total = totals["folder"]
        sizes = [path.stat().st_size for path in self.files()]
        self.assertEqual((total.size_bytes, total.objects), (sum(sizes), len(sizes)))
        for table in ("mmr_object_intents", "mmr_object_deletes"):
            self.assertEqual(await self.count(table), 0)

    async def test_a_lost_one_is_drawn_again_and_its_row_replaced(self) -> None:
        media_id, before = await self.drawn(png(300, 300))
        path = await self.path_of_thumbnail(media_id)
        path.unlink()
        for _ in range(2):
            answer = await self.thumbnail(media_id, QUERY)
            self.assertEqual((answer.status, answer.body), (200, before.body))
            self.assertEqual(answer.headers["etag"], before.headers["etag"])
        self.assertEqual(self.server.thumbnail_pool.jobs_started, self.jobs)
        self.assertNotEqual(await self.path_of_thumbnail(media_id), path)
        await self.check_books()

    async def test_so_is_a_damaged_one(self) -> None:
        media_id, before = await self.drawn(png(300, 300))
        path = await self.path_of_thumbnail(media_id)
        path.write_bytes(path.read_bytes()[:-10])
        answer = await self.thumbnail(media_id, QUERY)
        self.assertEqual((answer.status, answer.body), (200, before.body))
        await self.check_books()
        self.assertFalse(path.exists())

    async def test_another_drawing_than_before_gets_its_own_headers(self) -> None:
        """The renderer may have changed since."""
        media_id, before = await self.drawn(png(300, 300))
        [row] = await self.rows(media_id)
        await self.server.db.interaction("change", self._another_drawing_txn)
        (self.media_folder / row.location).unlink()
        answer = await self.thumbnail(media_id, QUERY)
        self.assertEqual((answer.status, answer.body), (200, before.body))
        self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertEqual(answer.headers["etag"], before.headers["etag"])

    @staticmethod
    def _another_drawing_txn(txn: Any) -> None:
        txn.execute(
            "UPDATE thumbnails SET sha256_hash = ?, content_type = ?, size_bytes = 7",
            ("a" * 64, "image/jpeg"),
        )

    async def test_many_who_ask_at_once_cost_one_render(self) -> None:
        media_id, before = await self.drawn(png(300, 300))
        (await self.path_of_thumbnail(media_id)).unlink()
        asking = [
            Deferred.fromCoroutine(self.thumbnail(media_id, QUERY)) for _ in range(10)
        ]
        for answer in await gatherResults(asking):
            self.assertEqual((answer.status, answer.body), (200, before.body))
        self.assertEqual(self.server.thumbnail_pool.jobs_started, self.jobs)
        await self.check_books()

    async def test_rows_that_share_the_lost_object_are_all_replaced(self) -> None:
        """Of two users' same picture, and of its animated variant."""
        media_id, before = await self.drawn(png(300, 300))
        other = await self.upload(png(300, 300), filename="other.png")
        asked = [(each, QUERY + more) for each in (media_id, other) for more in _MORE]
        for each, query in asked:
            self.assertEqual((await self.thumbnail(each, query)).status, 200)
        [path] = {
            self.media_folder / row.location
            for each in (media_id, other)
            for row in await self.rows(each)
        }
        await self.cool_down()
        path.unlink()
        for each, query in asked:
            answer = await self.thumbnail(each, query)
            self.assertEqual((answer.status, answer.body), (200, before.body), query)
        await self.check_books()

    async def test_without_the_original_it_is_404_and_nothing_changes(self) -> None:
        media_id, _ = await self.drawn(png(300, 300))
        rows = await self.rows(media_id)
        for path in self.files():
            path.unlink()
        self.assertEqual((await self.thumbnail(media_id, QUERY)).status, 404)
        self.assertEqual(await self.rows(media_id), rows)

    async def test_an_original_that_is_its_own_thumbnail_is_not_replaced(self) -> None:
        media_id, _ = await self.drawn(png(30, 30))
        rows = await self.rows(media_id)
        (await self.path_of(media_id)).unlink()
        self.assertEqual((await self.thumbnail(media_id, QUERY)).status, 404)
        self.assertEqual(await self.rows(media_id), rows)

    async def test_until_the_new_one_is_there_the_row_stays(self) -> None:
        """A store that fails costs an error, and no row."""
        media_id, before = await self.drawn(png(300, 300))
        (await self.path_of_thumbnail(media_id)).unlink()
        rows = await self.rows(media_id)

        async def fail(*_: object) -> None:
            raise DatastoreError("the disk is gone")

        patch = self.patch(self.server.committer, "commit", fail)
        self.assertEqual((await self.thumbnail(media_id, QUERY)).status, 500)
        self.assertEqual(await self.rows(media_id), rows)
        patch.restore()
        answer = await self.thumbnail(media_id, QUERY)
        self.assertEqual((answer.status, answer.body), (200, before.body))
        await self.check_books()

    async def test_strangers_have_nothing_drawn(self) -> None:
        """R41."""
        data = png(300, 300)
        media_id, _ = await self.drawn(data)
        await self.server.db.interaction("unfreeze", _unfreeze_txn)
        (await self.path_of_thumbnail(media_id)).unlink()
        path = f"/_matrix/media/v3/thumbnail/{HOST}/{media_id}?{QUERY}"
        self.assertEqual((await self.get(path, token=None)).status, 404)
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)
        self.assertEqual((await self.thumbnail(media_id, QUERY)).status, 200)
        self.assertEqual((await self.get(path, token=None)).status, 200)


_MORE = ("", "&animated=true")


def _unfreeze_txn(txn: Any) -> None:
    txn.execute("DELETE FROM restricted_media", ())


class LostOnSqlite(LostThumbnails):
    __test__ = True


class LostOnPostgres(LostThumbnails):
    __test__ = True
    engine = "postgres"


class LostForServers(RemoteCase):
    config: ClassVar[dict[str, Any]] = LostThumbnails.config

    async def test_other_servers_get_it_too(self) -> None:
        media_id = await self.upload(png(300, 300))
        path = f"/_matrix/federation/v1/media/thumbnail/{media_id}?{QUERY}"
        before = await self.ask_us(path)
        self.assertEqual(before.status, 200)
        store = self.server.stores.thumbnails
        [row] = await store.get_thumbnails_of(HOST, media_id)
        (self.media_folder / row.location).unlink()
        after = await self.ask_us(path)
        self.assertEqual(after.status, 200)
        self.assertEqual(_media_of(after), _media_of(before))


def _media_of(answer: Answer) -> bytes:
    """The second part of an envelope."""
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    return answer.body.split(b"--" + boundary)[2].partition(b"\r\n\r\n")[2]
