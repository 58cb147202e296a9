"""Logout, versions, and the question for homeserver admins."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import MatrixError
from mmr.types import Access, Requester

from tests.auth.fakes import ANN, HOST, SECRET, FakeRequest
from tests.auth.test_authenticator import AuthCase
from tests.homeserver import Reply, error_reply


class SessionsCase(AuthCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.sessions = Sessions(self.homeservers, self.cache)

    async def authenticated(self, token: str) -> FakeRequest:
        request = self.request(token)
        request.requester = await self.auth.authenticate(request, Access.USER)
        return request


class LogoutTests(SessionsCase):
    async def test_ends_the_session_and_forgets_the_token(self) -> None:
        """R47."""
        request = await self.authenticated("ann-token")
        await self.sessions.logout(request, everywhere=False)
        seen = self.homeserver.requests[-1]
        self.assertEqual(
            (seen.method, seen.path), ("POST", "/_matrix/client/v3/logout")
        )
        self.assertEqual(seen.args, {b"user_id": [ANN.encode()]})
        error = await self.refusal(self.request("ann-token"))
        self.assertEqual(error.errcode, "M_UNKNOWN_TOKEN")

    async def test_everywhere_ends_the_other_sessions_too(self) -> None:
        """R47."""
        self.homeserver.users["ann-phone"] = ANN
        await self.authenticated("ann-phone")
        request = await self.authenticated("ann-token")
        await self.sessions.logout(request, everywhere=True)
        self.assertEqual(self.homeserver.count("/logout/all"), 1)
        await self.refusal(self.request("ann-phone"))

    async def test_failure_is_told_and_the_token_forgotten_all_the_same(self) -> None:
        request = await self.authenticated("ann-token")
        self.homeserver.override = Reply(500)
        with self.assertRaises(MatrixError) as caught:
            await self.sessions.logout(request, everywhere=False)
        self.assertEqual(caught.exception.status, 502)
        self.assertIsNone(self.auth.cached(request, Access.USER))

    async def test_shared_secret_is_not_passed_on(self) -> None:
        request = await self.authenticated(SECRET)
        with self.assertRaises(MatrixError) as caught:
            await self.sessions.logout(request, everywhere=False)
        self.assertEqual(caught.exception.status, 403)
        await self.sessions.versions(request)
        self.assertFalse(await self.sessions.is_local_admin(request))
        sent = [seen.headers.get("authorization") for seen in self.homeserver.requests]
        self.assertEqual(sent, [None])


class VersionsTests(SessionsCase):
    async def test_token_goes_in_the_header_and_our_version_is_added(self) -> None:
        """D12."""
        self.homeserver.versions["more"] = 1
        versions = await self.sessions.versions(await self.authenticated("ann-token"))
        self.assertEqual(
            versions, {"versions": ["v1.1", "v1.11"], "unstable_features": {}}
        )
        seen = self.homeserver.requests[-1]
        self.assertEqual(seen.args, {})
        self.assertEqual(seen.headers["authorization"], "Bearer ann-token")

    async def test_anonymous_callers_and_known_versions(self) -> None:
        self.homeserver.versions = {
            "versions": ["v1.11", "v1.12"],
            "unstable_features": {"x": True},
        }
        versions = await self.sessions.versions(self.request())
        self.assertEqual(versions, self.homeserver.versions)
        self.assertNotIn("authorization", self.homeserver.requests[0].headers)

    async def test_homeserver_down(self) -> None:
        self.homeserver.override = Reply(503)
        with self.assertRaises(MatrixError) as caught:
            await self.sessions.versions(self.request())
        self.assertEqual(caught.exception.status, 502)


class LocalAdminTests(SessionsCase):
    async def test_admin_is_who_may_look_at_users(self) -> None:
        """API reference 2.5."""
        request = await self.authenticated("ann-token")
        self.assertFalse(await self.sessions.is_local_admin(request))
        self.homeserver.admins.add(ANN)
        self.assertTrue(await self.sessions.is_local_admin(request))
        # R76: the made-up user is one segment.
        path = "/_synapse/admin/v1/whois/%40media.repo.admin.check%3Aa.example"
        self.assertEqual(self.homeserver.requests[-1].path, path)

    async def test_other_homeservers_have_the_standard_route(self) -> None:
        domain = self.config.domains[HOST].model_copy(
            update={"admin_api_kind": "dendrite"}
        )
        request = self.request()
        request.domain = domain
        request.requester = Requester(user_id=ANN, token="ann-token")
        await self.sessions.is_local_admin(request)
        self.assertTrue(
            self.homeserver.requests[-1].path.startswith(
                "/_matrix/client/v3/admin/whois/"
            )
        )

    async def test_nobody_is_admin_without_a_token(self) -> None:
        self.assertFalse(await self.sessions.is_local_admin(self.request()))
        self.assertEqual(self.homeserver.requests, [])

    async def test_probes_never_lock_users_out(self) -> None:
        """R47, D34: neither forbidden ones nor those that fail."""
        request = await self.authenticated("ann-token")
        for reply in (error_reply(403, "M_FORBIDDEN"), Reply(500)):
            self.homeserver.override = reply
            for _ in range(20):
                self.assertFalse(await self.sessions.is_local_admin(request))
        self.homeserver.override = None
        await self.caller(self.request("admin-token"))


class RoomMediaTests(SessionsCase):
    """API reference 2.5."""

    async def refused(self, request: FakeRequest, room_id: str) -> MatrixError:
        with self.assertRaises(MatrixError) as caught:
            await self.sessions.room_media(request, room_id)
        return caught.exception

    async def test_the_homeserver_lists_them_to_its_admin(self) -> None:
        media = {"local": [f"mxc://{HOST}/a"], "remote": ["mxc://far.example/b"]}
        self.homeserver.room_media["!room:a.example"] = media
        request = await self.authenticated("ann-token")
        self.assertEqual((await self.refused(request, "!room:a.example")).status, 403)

        self.homeserver.admins.add(ANN)
        found = await self.sessions.room_media(request, "!room:a.example")

        self.assertEqual(found.local, (f"mxc://{HOST}/a",))
        self.assertEqual(found.remote, ("mxc://far.example/b",))
        self.assertEqual((await self.refused(request, "!other:a.example")).status, 404)

    async def test_any_room_id_is_one_segment(self) -> None:
        """R76."""
        self.homeserver.admins.add(ANN)
        request = await self.authenticated("ann-token")
        for room_id in ("!a/../../b?c#d%2e_'", "!é:x", "..a"):
            self.assertEqual((await self.refused(request, room_id)).status, 404)
            path = self.homeserver.requests[-1].path
            self.assertEqual(path.count("/"), 6, path)
            self.assertEqual(self.homeserver.requests[-1].args, {})
        for room_id in ("", ".", ".."):
            self.assertEqual((await self.refused(request, room_id)).status, 400)

    async def test_only_synapse_can(self) -> None:
        request = await self.authenticated("ann-token")
        request.domain = self.config.domains[HOST].model_copy(
            update={"admin_api_kind": "dendrite"}
        )
        before = len(self.homeserver.requests)
        error = await self.refused(request, "!room:a.example")
        self.assertEqual(error.status, 400)
        self.assertIn("adminApiKind", error.message)
        self.assertEqual(len(self.homeserver.requests), before)

    async def test_the_shared_secret_is_not_passed_on(self) -> None:
        request = await self.authenticated(SECRET)
        self.assertEqual((await self.refused(request, "!room:a.example")).status, 403)
        self.assertEqual(self.homeserver.requests, [])

    async def test_failures_have_a_breaker_of_their_own(self) -> None:
        """R47: slow rooms never keep users from logging in."""
        request = await self.authenticated("ann-token")
        self.homeserver.override = Reply(504)
        statuses = [
            (await self.refused(request, "!room:a.example")).status for _ in range(5)
        ]
        self.assertEqual(statuses, [502, 502, 502, 503, 503])
        self.homeserver.override = None
        await self.caller(self.request("admin-token"))
        self.homeserver.admins.add(ANN)
        self.assertTrue(await self.sessions.is_local_admin(request))
