"""Redis over TLS and with users: who is not the right one learns nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import crypto

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.cluster.bus import RECORD_CHANGED, Bus
from mmr.cluster.redis import Redis, RedisUnavailable
from mmr.cluster.redis_bus import RedisBus
from mmr.config.redis import RedisConfig

from tests.cluster.cases import ClusterCase
from tests.redis import RedisServer
from tests.stub_web import StubCa, test_ca


class TlsCase(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.ca: StubCa = test_ca()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def tls_server(self, name: str = "localhost", *options: str) -> RedisServer:
        """A server that speaks nothing but TLS, with a certificate for a name."""
        pair = self.ca.issue(name)
        server = RedisServer()
        certificate, key = server.folder / "cert.pem", server.folder / "key.pem"
        certificate.write_bytes(pair.dumpPEM())
        key.write_bytes(pair.privateKey.dump(crypto.FILETYPE_PEM))
        server._options = (
            "port 0",
            f"tls-port {server.port}",
            f"tls-cert-file {certificate}",
            f"tls-key-file {key}",
            "tls-auth-clients no",
            *options,
        )
        server.start()
        self.addCleanup(server.remove)
        return server

    def config(
        self, server: RedisServer, ca: StubCa | None = None, **more: Any
    ) -> RedisConfig:
        ca_path = (ca or self.ca).write(self.folder / "ca.pem")
        shard = {"name": "one", "addr": f"localhost:{server.port}"}
        return RedisConfig.model_validate(
            {
                "enabled": True,
                "tls": True,
                "caPath": str(ca_path),
                "shards": [shard],
                **more,
            }
        )

    async def refused(self, config: RedisConfig) -> None:
        """There is no connection, and nobody waits for one."""
        redis = Redis(config, reactor)
        redis.start()
        try:
            await self.clock.sleep(0.2)
            self.assertFalse(redis.shards[0].is_up)
            with self.assertRaises(RedisUnavailable):
                await redis.shards[0].execute("PING")
        finally:
            await redis.stop()


class TlsTests(TlsCase):
    async def test_values_come_back(self) -> None:
        redis = await self.redis(self.config(self.tls_server()))
        value = bytes(range(256)) * 1000
        await redis.shards[0].execute("SET", "key", value)
        self.assertEqual(await redis.shards[0].execute("GET", "key"), value)

    async def test_messages_reach_the_other_process(self) -> None:
        config = self.config(self.tls_server())
        heard: list[str] = []
        buses = []
        for _ in range(2):
            transport = RedisBus(await self.redis(config), reactor)
            bus = Bus([transport], self.clock)
            bus.on(RECORD_CHANGED, heard.append)
            bus.start()
            self.addCleanup(lambda bus=bus: Deferred.fromCoroutine(bus.stop()))
            await self.eventually(lambda transport=transport: transport.is_live)
            buses.append(bus)
        buses[0].publish(RECORD_CHANGED, "mxc://a.example/b")
        await self.eventually(lambda: "mxc://a.example/b" in heard)

    async def test_it_is_back_after_a_restart(self) -> None:
        server = self.tls_server()
        redis = await self.redis(self.config(server))
        server.kill()
        await self.eventually(lambda: not redis.shards[0].is_up)
        server.start()
        await self.eventually(lambda: redis.shards[0].is_up, seconds=5)

    async def test_a_certificate_of_another_authority_is_refused(self) -> None:
        await self.refused(self.config(self.tls_server(), ca=test_ca()))

    async def test_a_certificate_for_another_name_is_refused(self) -> None:
        await self.refused(self.config(self.tls_server("other.example")))

    async def test_plain_text_to_a_server_with_tls_is_no_connection(self) -> None:
        await self.refused(self.config(self.tls_server(), tls=False))


class UserTests(TlsCase):
    """``username`` and ``password`` (ACL), as with a hosted Redis."""

    ACL = ("user default off", "user mmr on >s3cr3t ~* &* +@all")

    async def test_the_right_password(self) -> None:
        server = self.tls_server("localhost", *self.ACL)
        config = self.config(server, username="mmr", password="s3cr3t")
        redis = await self.redis(config)
        self.assertEqual(await redis.shards[0].execute("PING"), "PONG")

    async def test_the_wrong_ones(self) -> None:
        server = self.tls_server("localhost", *self.ACL)
        for user, password in (("mmr", "other"), ("", "s3cr3t"), ("mmr", "")):
            await self.refused(self.config(server, username=user, password=password))
