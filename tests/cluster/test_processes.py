"""Two whole servers on one database: what one does, the other knows (R47, R84)."""

from __future__ import annotations

import os
import re
import time
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.cache.standing_in import StandingIn
from mmr.config import load_config
from mmr.http.listen import listen_tcp
from mmr.server import MediaRepoServer
from mmr.types import Mxc

from tests.harness import ALICE, HOST, Answer, ServerCase, jpeg, png
from tests.redis import RedisServer

LIMIT_SECONDS = 5.0


class TwoServersCase(ServerCase):
    __test__: ClassVar[bool] = False
    engine = "postgres"
    second: MediaRepoServer

    async def setUp(self) -> None:
        await super().setUp()
        self.second = MediaRepoServer(load_config([self.config_file]), reactor, 1)
        await self.second.start()
        port = listen_tcp(reactor, 0, self.second.site, "127.0.0.1")
        self.second_base = f"http://127.0.0.1:{port.getHost().port}"

        async def stop() -> None:
            await port.stopListening()
            await self.second.stop()

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        for server in (self.server, self.second):
            await self.eventually(lambda each=server: self.hears(each))

    def hears(self, server: MediaRepoServer) -> bool:
        return all(each.is_live for each in server.bus._transports)

    async def at_second(self, path: str, **more: Any) -> Answer:
        first, self.base = self.base, self.second_base
        try:
            asking = Deferred.fromCoroutine(self.get(path, **more))
        finally:
            self.base = first
        return await asking

    async def holds(self, server: MediaRepoServer, sha256: str, size: int) -> bool:
        """Whether a process has content in memory, or finds it in Redis."""
        cache = server.content_cache
        near = await cache.fetch(sha256, size)
        return near is not None or cache.get(sha256) is not None

    async def clear(self, heard: list[str]) -> None:
        """Hear what still comes of what was said, and forget it."""
        last = -1
        while len(heard) != last:
            last = len(heard)
            await self.server.clock.sleep(0.2)
        heard.clear()

    def download_path(self, media_id: str) -> str:
        return f"/_matrix/client/v1/media/download/{HOST}/{media_id}"


class SharingTests:
    """With Redis and without."""

    async def test_a_quarantine_is_seen_by_the_other_within_5_s(self: Any) -> None:
        media_id = await self.upload(png())
        path = self.download_path(media_id)
        for _ in range(10):
            self.assertEqual((await self.at_second(path)).status, 200)
        self.assertIsNotNone(self.second.media_records.cached(Mxc(HOST, media_id)))
        await self.quarantine(media_id)
        started = time.monotonic()

        async def is_gone() -> bool:
            return (await self.at_second(path)).status == 404

        await self.eventually(is_gone, LIMIT_SECONDS)
        self.assertLess(time.monotonic() - started, LIMIT_SECONDS)

    async def test_a_release_tells_nobody_to_cut_downloads(self: Any) -> None:
        """They may begin before the message comes: this process hears its own, too."""
        media_id = await self.upload(png())
        removed: list[str] = []
        for server in (self.server, self.second):
            server.bus.on("mmr:content_removed", removed.append)
        base = "/_matrix/media/unstable/admin"
        path = f"{base}/quarantine/{HOST}/{media_id}"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.json["num_quarantined"], 1)
        await self.eventually(lambda: bool(removed))
        await self.clear(removed)
        path = f"{base}/unquarantine/{HOST}/{media_id}"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.json["num_released"], 1)
        record = self.download_path(media_id)

        async def is_back() -> bool:
            return (await self.at_second(record)).status == 200

        await self.eventually(is_back, LIMIT_SECONDS)
        self.assertEqual(removed, [])

    async def test_a_purge_is_seen_by_the_other_within_5_s(self: Any) -> None:
        """Its record, its bytes in memory, and those in Redis."""
        media_id = await self.upload(png())
        sha256 = (await self.record(media_id)).sha256_hash
        path = self.download_path(media_id)
        for _ in range(10):
            self.assertEqual((await self.at_second(path)).status, 200)
            self.assertEqual((await self.download(media_id)).status, 200)
        self.assertTrue(await self.holds(self.second, sha256, len(png())))
        purge = f"/_matrix/media/unstable/admin/purge/{HOST}/{media_id}"
        answer = await self.request("POST", purge, token="admin-token")
        self.assertEqual(answer.status, 200)
        self.assertEqual((await self.download(media_id)).status, 404)

        async def is_gone() -> bool:
            return (await self.at_second(path)).status == 404

        await self.eventually(is_gone, LIMIT_SECONDS)

        self.assertFalse(await self.holds(self.server, sha256, len(png())))

        async def is_free() -> bool:
            return not await self.holds(self.second, sha256, len(png()))

        await self.eventually(is_free, LIMIT_SECONDS)

    async def test_a_logout_is_seen_by_the_other_within_5_s(self: Any) -> None:
        media_id = await self.upload(png())
        path = self.download_path(media_id)
        self.assertEqual((await self.at_second(path)).status, 200)
        answer = await self.request("POST", "/_matrix/client/v3/logout")
        self.assertEqual(answer.status, 200)

        async def is_refused() -> bool:
            return (await self.at_second(path)).status == 401

        await self.eventually(is_refused, LIMIT_SECONDS)

    async def test_an_upload_wakes_those_who_wait_elsewhere(self: Any) -> None:
        media_id = await self.create()
        mxc = Mxc(HOST, media_id)
        woken: list[Mxc] = []
        wake = self.second.waiters.wake
        self.patch(
            self.second.waiters, "wake", lambda each: (woken.append(each), wake(each))
        )
        waiting = Deferred.fromCoroutine(self.at_second(self.download_path(media_id)))
        await self.eventually(lambda: mxc in self.second.waiters._waiting)
        self.assertEqual((await self.put(media_id, b"content")).status, 200)
        self.assertEqual((await waiting).body, b"content")
        await self.eventually(lambda: mxc in woken)

    async def test_both_asked_at_once_render_once(self: Any) -> None:
        media_id = await self.upload(jpeg(2000, 1500), "image/jpeg")
        path = (
            f"/_matrix/client/v1/media/thumbnail/{HOST}/{media_id}?width=320&height=240"
        )
        made: list[Any] = []
        for server in (self.server, self.second):
            keep = server.thumbnails._keep

            async def counted(*args: Any, keep: Any = keep) -> Any:
                made.append(args)
                return await keep(*args)

            self.patch(server.thumbnails, "_keep", counted)
        asking = [
            Deferred.fromCoroutine(ask(path)) for ask in (self.get, self.at_second)
        ]
        answers = [await each for each in asking]
        self.assertEqual([each.status for each in answers], [200, 200])
        self.assertEqual(len(made), 1)

    async def test_removed_content_is_removed_everywhere(self: Any) -> None:
        sha256 = "a" * 64
        forgotten: list[str] = []
        self.second.bus.on("mmr:content_removed", forgotten.append)
        await self.server.content_cache.remove(sha256)
        await self.eventually(lambda: sha256 in forgotten)


class PostgresTests(SharingTests, TwoServersCase):
    __test__ = True


class RedisTests(SharingTests, TwoServersCase):
    __test__ = True

    async def setUp(self) -> None:
        self.redis = RedisServer()
        self.redis.start()
        self.addCleanup(self.redis.remove)
        shards = [{"name": "one", "addr": self.redis.address}]
        type(self).config = {"redis": {"enabled": True, "shards": shards}}
        await super().setUp()

    async def test_content_that_one_read_is_there_for_the_other(self) -> None:
        media_id = await self.upload(png())
        path = self.download_path(media_id)
        record = await self.record(media_id)
        self.assertIsInstance(self.second.content_cache, StandingIn)
        await self.download(media_id)

        async def is_shared() -> bool:
            found = await self.second.content_cache.fetch(
                record.sha256_hash, record.size_bytes
            )
            return found is not None

        await self.eventually(is_shared)
        (await self.path_of(media_id)).unlink()
        self.assertEqual((await self.at_second(path)).status, 200)

    async def test_content_from_redis_costs_one_round_trip(self) -> None:
        """In a process that has just begun, too: one command, and no datastore."""
        media_id = await self.upload(os.urandom(3000))
        await self.download(media_id)
        await self.eventually(lambda: b":1" in self.redis.command("DBSIZE"))
        (await self.path_of(media_id)).unlink()
        path = self.download_path(media_id)
        # Who asks, and for what, it has to look up once.
        await self.at_second(path, headers={"If-None-Match": "*"})
        for _ in range(2):
            self.redis.command("CONFIG", "RESETSTAT")
            self.assertEqual((await self.at_second(path)).status, 200)
            self.assertEqual(self.commands(), {"getrange": 1})

    def commands(self) -> dict[str, int]:
        """Commands since the statistics began, without those that keep watch."""
        text = self.redis.command("INFO", "commandstats").decode()
        found = re.findall(r"cmdstat_([^:]+):calls=([0-9]+)", text)
        watch = ("ping", "info", "config|resetstat")
        return {name: int(calls) for name, calls in found if name not in watch}

    async def test_a_quarantine_while_redis_is_away_is_seen_all_the_same(self) -> None:
        """R84: Redis being down does not change that."""
        media_id = await self.upload(png())
        path = self.download_path(media_id)
        self.assertEqual((await self.at_second(path)).status, 200)
        self.redis.pause()
        await self.quarantine(media_id)

        async def is_gone() -> bool:
            return (await self.at_second(path)).status == 404

        await self.eventually(is_gone, LIMIT_SECONDS)
        self.redis.resume()

    async def test_killing_and_restarting_redis_costs_no_request(self) -> None:
        media_id = await self.upload(png())
        path = self.download_path(media_id)
        for step in (lambda: None, self.redis.kill, self.redis.start):
            step()
            for _ in range(20):
                self.assertEqual((await self.at_second(path)).status, 200)
                await self.upload(png(color="blue"))
        redis = self.second.redis
        assert redis is not None
        await self.eventually(lambda: redis.shards[0].is_up, LIMIT_SECONDS)

    async def test_no_token_and_no_user_is_in_redis(self) -> None:
        """R42."""
        await self.upload(png())
        await self.request("POST", "/_matrix/client/v3/logout")
        keys = self.redis.command("KEYS", "*")
        for mark in (b"alice-token", ALICE.encode()):
            self.assertNotIn(mark, keys)
