"""The admin's federation test (mmr-http-api.md §11.5)."""

from __future__ import annotations

import json
from typing import Any

from mmr.http.guard import SrvTarget

from tests.harness import Answer
from tests.rest.remote_case import RemoteCase
from tests.stub_web import LOOPBACK, Seen, StubConnection

_VERSION = {"server": {"name": "Stub", "version": "1.0"}}


class FederationTestTest(RemoteCase):
    async def setUp(self) -> None:
        await super().setUp()

        def media(connection: StubConnection, seen: Seen) -> None:
            if seen.target == "/_matrix/federation/v1/version":
                connection.reply(200, json.dumps(_VERSION).encode())
            else:
                connection.reply(404, b"{}")

        self.media = media

    async def ask(
        self, name: str, token: str = "admin-token", prefix: str = "unstable"
    ) -> Answer:
        path = f"/_matrix/media/{prefix}/admin/federation/test/{name}"
        return await self.get(path, token=token)

    async def found(self, name: str) -> dict[str, Any]:
        answer = await self.ask(name)
        self.assertEqual(answer.status, 200)
        value: dict[str, Any] = answer.json
        return value

    async def test_a_name_with_a_port(self) -> None:
        found = await self.found(self.name)
        self.assertEqual(found["base_url"], f"https://{self.name}")
        self.assertEqual(found["hostname"], self.name)
        self.assertEqual(found["versions_response"], _VERSION)
        steps = [{"step": "explicit port", "result": self.name}]
        self.assertEqual(found["steps"], steps)
        self.assertNotIn("error", found)

    async def test_a_name_without_one_shows_each_step(self) -> None:
        """Nobody has the well-known document, so SRV says where the server is."""
        target = SrvTarget(1, 1, self.remote.port, "host.example")
        self.dns.services["_matrix-fed._tcp.remote.example"] = [target]
        self.dns.hosts["host.example"] = [LOOPBACK]
        found = await self.found("remote.example")
        self.assertEqual(found["versions_response"], _VERSION)
        self.assertEqual(found["hostname"], "remote.example")
        steps = {step["step"]: step["result"] for step in found["steps"]}
        self.assertIn("no delegation", steps["well-known"])
        service = "SRV _matrix-fed._tcp.remote.example"
        self.assertEqual(steps[service], f"host.example:{self.remote.port}")

    async def test_media_are_fetched_from_where_srv_says(self) -> None:
        target = SrvTarget(1, 1, self.remote.port, "host.example")
        self.dns.services["_matrix._tcp.remote.example"] = [target]
        self.dns.hosts["host.example"] = [LOOPBACK]
        self.reply_file(b"found")
        path = "/_matrix/client/v1/media/download/remote.example/abc"
        self.assertEqual((await self.get(path)).body, b"found")
        [seen] = self.asked
        self.assertEqual(seen.headers["host"], "remote.example")
        self.assertEqual(seen.server_name, "remote.example")

    async def test_the_step_that_failed_is_named(self) -> None:
        found = await self.found("nowhere.example")
        self.assertEqual(found["base_url"], "https://nowhere.example:8448")
        self.assertIsNone(found["versions_response"])
        self.assertEqual(found["failed_step"], "dns")
        self.assertIn("nowhere.example", found["error"])
        self.assertEqual(len(found["steps"]), 4)

    async def test_a_private_address_is_not_reached(self) -> None:
        """R8: not for admins either."""
        found = await self.found("10.0.0.1:8448")
        self.assertEqual(found["failed_step"], "denied")

    async def test_what_is_no_server_name(self) -> None:
        for name in ("a_b", "a:99999", "1.2.3.999"):
            self.assertEqual((await self.ask(name)).status, 400)
        self.assertEqual(self.dns.asked, [])

    async def test_it_is_for_admins(self) -> None:
        for prefix in ("unstable", "unstable/io.t2bot.media"):
            answer = await self.ask(self.name, prefix=prefix)
            self.assertEqual(answer.status, 200)
            answer = await self.ask(self.name, "alice-token", prefix)
            self.assertEqual(answer.status, 403)
        self.assertEqual(len(self.remote.requests), 2)
