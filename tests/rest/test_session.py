"""Calls that go on to the homeserver (mmr-http-api.md §8.5, §8.6)."""

from __future__ import annotations

from tests.harness import ServerCase
from tests.homeserver import error_reply

CONFIG = "/_matrix/media/v3/config"
VERSIONS = "/_matrix/client/versions"


class Logout(ServerCase):
    """The token cache is on in these tests: a minute of trust."""

    async def test_logout_ends_the_session_there_and_here(self) -> None:
        for version in ("r0", "v3"):
            self.homeserver.users["alice-token"] = "@alice:media.example"
            self.assertEqual((await self.get(CONFIG)).status, 200)
            self.assertEqual((await self.get(CONFIG)).status, 200)
            path = f"/_matrix/client/{version}/logout"
            answer = await self.request("POST", path)
            self.assertEqual((answer.status, answer.json), (200, {}))
            self.assertNotIn("alice-token", self.homeserver.users)
            self.assertEqual((await self.get(CONFIG)).status, 401)
            self.server.token_cache.clear()

    async def test_logout_all_ends_every_session_of_the_user(self) -> None:
        self.homeserver.users["second-token"] = "@alice:media.example"
        for token in ("alice-token", "second-token", "bob-token"):
            self.assertEqual((await self.get(CONFIG, token=token)).status, 200)
        answer = await self.request("POST", "/_matrix/client/v3/logout/all")
        self.assertEqual(answer.status, 200)
        for token in ("alice-token", "second-token"):
            self.assertEqual((await self.get(CONFIG, token=token)).status, 401)
        self.assertEqual((await self.get(CONFIG, token="bob-token")).status, 200)

    async def test_a_known_token_is_asked_about_once(self) -> None:
        for _ in range(3):
            await self.get(CONFIG)
        self.assertEqual(self.homeserver.count("/whoami"), 1)

    async def test_a_logout_that_fails_tells_so(self) -> None:
        await self.get(CONFIG)
        self.homeserver.override = error_reply(500, "M_UNKNOWN")
        answer = await self.request("POST", "/_matrix/client/v3/logout")
        self.assertIn(answer.status, (500, 502, 503))
        self.homeserver.override = None
        self.assertEqual((await self.get(CONFIG)).status, 200)

    async def test_nobody_cannot_log_out(self) -> None:
        answer = await self.request("POST", "/_matrix/client/v3/logout", token=None)
        self.assertEqual(answer.status, 401)


class Versions(ServerCase):
    async def test_authenticated_media_is_added(self) -> None:
        for token in (None, "alice-token"):
            answer = await self.get(VERSIONS, token=token)
            self.assertEqual(answer.json["versions"], ["v1.1", "v1.11"])
            self.assertEqual(set(answer.json), {"versions", "unstable_features"})

    async def test_the_token_is_no_query_parameter(self) -> None:
        """D12."""
        await self.get(VERSIONS)
        for seen in self.homeserver.requests:
            self.assertNotIn("alice-token", str(seen.args))
        self.assertEqual(
            self.homeserver.requests[-1].headers["authorization"], "Bearer alice-token"
        )

    async def test_a_homeserver_that_is_down(self) -> None:
        await self.homeserver.stop()
        answer = await self.get(VERSIONS, token=None)
        self.assertIn(answer.status, (502, 503))
