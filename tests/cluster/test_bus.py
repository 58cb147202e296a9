"""Messages between processes over Redis, over PostgreSQL, and when neither works."""

from __future__ import annotations

from pathlib import Path

import attrs

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.cluster.bus import (
    CHANNELS,
    CONTENT_REMOVED,
    MEDIA_UPLOADED,
    RECORD_CHANGED,
    Bus,
    Transport,
)
from mmr.cluster.postgres import PostgresSession
from mmr.cluster.redis_bus import RedisBus
from mmr.storage.engines import PostgresEngine
from mmr.util.clock import Clock

from tests.cluster.cases import ClusterCase, config_of
from tests.postgres import PostgresCluster, create_database
from tests.redis import RedisServer


@attrs.define
class Process:
    """One process's ear and mouth."""

    bus: Bus
    transports: list[Transport]
    heard: list[tuple[str, str]] = attrs.Factory(list)
    gaps: list[None] = attrs.Factory(list)

    @property
    def is_live(self) -> bool:
        return all(transport.is_live for transport in self.transports)


class BusCase(ClusterCase):
    async def process(self, *transports: Transport) -> Process:
        process = Process(Bus(transports, self.clock), list(transports))
        for channel in (MEDIA_UPLOADED, RECORD_CHANGED, CONTENT_REMOVED):
            process.bus.on(
                channel,
                lambda payload, channel=channel: process.heard.append(
                    (channel, payload)
                ),
            )
        process.bus.on_gap(lambda: process.gaps.append(None))
        process.bus.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(process.bus.stop()))
        await self.eventually(lambda: process.is_live)
        return process

    async def over_redis(self, *servers: RedisServer) -> Process:
        redis = await self.redis(config_of(*servers))
        return await self.process(RedisBus(redis, reactor))

    def session(self, url: str) -> PostgresSession:
        return PostgresSession(PostgresEngine(url), Clock(reactor), reactor)


class RedisBusTests(BusCase):
    async def test_a_message_reaches_the_other_process(self) -> None:
        server = self.server()
        first = await self.over_redis(server)
        second = await self.over_redis(server)
        first.bus.publish(RECORD_CHANGED, "mxc://a.example/b")
        await self.eventually(
            lambda: second.heard == [(RECORD_CHANGED, "mxc://a.example/b")]
        )

    async def test_messages_of_MMR_are_understood(self) -> None:
        """Its channel and payload (mmr-http-api §12.4), on any of the servers."""
        servers = [self.server(), self.server()]
        process = await self.over_redis(*servers)
        for server in servers:
            server.command("PUBLISH", "mmr:upload_mxc", "mxc://a.example/b")
        await self.eventually(lambda: len(process.heard) == 2)
        self.assertEqual(set(process.heard), {("mmr:upload_mxc", "mxc://a.example/b")})

    async def test_rubbish_is_survived(self) -> None:
        server = self.server()
        process = await self.over_redis(server)
        server.command("PUBLISH", RECORD_CHANGED, b"\xff\x00" * 100)
        server.command("PUBLISH", RECORD_CHANGED, b"x" * 100_000)
        server.command("PUBLISH", RECORD_CHANGED, "mxc://a.example/b")
        await self.eventually(
            lambda: (RECORD_CHANGED, "mxc://a.example/b") in process.heard
        )
        self.assertEqual(len(process.heard), 2)

    async def test_after_a_restart_everything_is_forgotten_and_heard_again(
        self,
    ) -> None:
        server = self.server()
        first = await self.over_redis(server)
        second = await self.over_redis(server)
        server.kill()
        await self.eventually(lambda: not second.is_live)
        gaps = len(second.gaps)
        first.bus.publish(CONTENT_REMOVED, "said-while-away")
        server.start()
        await self.eventually(lambda: second.is_live and len(second.gaps) > gaps)
        await self.eventually(
            lambda: (CONTENT_REMOVED, "said-while-away") in second.heard, seconds=15
        )

    async def test_a_process_that_cannot_hear_forgets_all_the_time(self) -> None:
        """R84: a lost bus must not keep quarantined media visible."""
        server = self.server()
        process = await self.over_redis(server)
        server.pause()
        await self.eventually(lambda: not process.is_live)
        gaps = len(process.gaps)
        await self.eventually(lambda: len(process.gaps) >= gaps + 2, seconds=6)
        server.resume()
        await self.eventually(lambda: process.is_live)

    async def test_a_flood_of_messages_is_bounded(self) -> None:
        server = self.server()
        first = await self.over_redis(server)
        second = await self.over_redis(server)
        gaps = len(second.gaps)
        for number in range(25_000):
            first.bus.publish(RECORD_CHANGED, f"mxc://a.example/{number}")
        self.assertLessEqual(len(first.bus._outbox), 10_000)
        await self.eventually(lambda: not first.bus._outbox, seconds=30)
        # What was dropped was said in another way.
        await self.eventually(lambda: len(second.gaps) > gaps)


class PostgresBusTests(BusCase):
    async def test_a_message_reaches_the_other_process(self) -> None:
        url = create_database()
        first = await self.process(self.session(url))
        second = await self.process(self.session(url))
        first.bus.publish(MEDIA_UPLOADED, "mxc://a.example/b")
        await self.eventually(
            lambda: second.heard == [(MEDIA_UPLOADED, "mxc://a.example/b")]
        )

    async def test_it_reconnects_and_says_what_it_could_not_say(self) -> None:
        cluster = PostgresCluster()
        cluster.start()
        self.addCleanup(cluster.remove)
        url = cluster.create_database()
        first = await self.process(self.session(url))
        second = await self.process(self.session(url))
        cluster.stop()
        await self.eventually(lambda: not first.is_live and not second.is_live)
        gaps = len(second.gaps)
        first.bus.publish(RECORD_CHANGED, "mxc://a.example/b")
        cluster.start()
        await self.eventually(lambda: second.is_live and len(second.gaps) > gaps)
        await self.eventually(
            lambda: (RECORD_CHANGED, "mxc://a.example/b") in second.heard
        )

    async def test_losing_redis_leaves_postgres(self) -> None:
        """Redis lost: the messages that count go another way at once."""
        server, url = self.server(), create_database()
        processes = []
        for _ in range(2):
            redis = await self.redis(config_of(server))
            processes.append(
                await self.process(RedisBus(redis, reactor), self.session(url))
            )
        first, second = processes
        server.kill()
        await self.eventually(lambda: not second.transports[0].is_live)
        gaps = len(second.gaps)
        first.bus.publish(RECORD_CHANGED, "mxc://a.example/b")
        await self.eventually(
            lambda: (RECORD_CHANGED, "mxc://a.example/b") in second.heard
        )
        self.assertEqual(len(second.gaps), gaps)


class AloneTests(BusCase):
    async def test_a_single_process_says_nothing(self) -> None:
        process = await self.process()
        process.bus.publish(RECORD_CHANGED, "mxc://a.example/b")
        self.assertEqual(len(process.bus._outbox), 0)


def test_the_manual_has_every_channel() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    assert [name for name in CHANNELS if f"| `{name}` |" not in page] == []
