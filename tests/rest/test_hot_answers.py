"""Kept answers hold only as long as what they were made of (`mmr.http.hot`)."""

from __future__ import annotations

import yaml

from mmr.config import load_config

from tests.harness import ALICE, HOST, ServerCase, png


class HotAnswers(ServerCase):
    config = {"downloads": {"cache": {"enabled": True, "minDownloads": 2}}}

    async def hot_media(self, data: bytes = b"data") -> str:
        """A media whose answer is kept."""
        media_id = await self.upload(data)
        for _ in range(5):
            self.assertEqual((await self.download(media_id)).status, 200)
        self.assertGreaterEqual(len(self.kept), 1)
        return media_id

    @property
    def kept(self) -> object:
        return self.server.site._dispatcher._hot

    async def test_the_answer_is_the_same_as_the_long_way_gives(self) -> None:
        media_id = await self.upload(b"data", filename="a.txt")
        first = await self.download(media_id)
        for _ in range(5):
            again = await self.download(media_id)
        self.assertEqual(again.body, first.body)
        self.assertEqual({**again.headers, "date": ""}, {**first.headers, "date": ""})

    async def test_quarantine_counts_at_once(self) -> None:
        """R84."""
        media_id = await self.hot_media()
        await self.quarantine(media_id)
        self.assertEqual((await self.download(media_id)).status, 404)

    async def test_a_quarantined_original_takes_its_hot_thumbnail_along(self) -> None:
        """R85."""
        media_id = await self.upload(png(300, 300))
        for _ in range(5):
            hot = await self.thumbnail(media_id)
        await self.quarantine(media_id)
        after = await self.thumbnail(media_id)
        self.assertNotEqual(after.body, hot.body)

    async def test_a_logout_counts_at_once(self) -> None:
        """R47."""
        media_id = await self.hot_media()
        self.server.token_cache.drop_user(ALICE)
        del self.homeserver.users["alice-token"]
        self.assertEqual((await self.download(media_id)).status, 401)

    async def test_another_token_or_none_gets_nothing_of_it(self) -> None:
        """R40."""
        media_id = await self.hot_media()
        self.assertEqual((await self.download(media_id, token="wrong")).status, 401)
        self.assertEqual((await self.download(media_id, token=None)).status, 401)

    async def test_a_reload_counts_at_once(self) -> None:
        media_id = await self.hot_media()
        settings = yaml.safe_load(self.config_file.read_text())
        settings["federation"] = {"ignoredHosts": [HOST]}
        self.config_file.write_text(yaml.safe_dump(settings))
        self.server.reload(load_config([self.config_file]))
        self.assertEqual((await self.download(media_id)).status, 403)

    async def test_content_that_left_the_cache_is_opened_again(self) -> None:
        media_id = await self.hot_media()
        await self.server.content_cache.clear()
        self.assertEqual((await self.download(media_id)).body, b"data")

    async def test_conditions_and_ranges(self) -> None:
        media_id = await self.hot_media()
        etag = (await self.download(media_id)).headers["etag"]
        same = await self.download(media_id, headers={"If-None-Match": etag})
        self.assertEqual((same.status, same.body), (304, b""))
        other = await self.download(media_id, headers={"If-None-Match": '"x"'})
        self.assertEqual((other.status, other.body), (200, b"data"))
        part = await self.download(media_id, headers={"Range": "bytes=1-2"})
        self.assertEqual((part.status, part.body), (206, b"at"))

    async def test_downloads_are_still_counted(self) -> None:
        media_id = await self.hot_media()
        await self.server.last_access.flush()
        await self.download(media_id)
        self.assertEqual(len(self.server.last_access._noted), 1)
