"""Who is let in: every kind of access with every kind of caller (R48)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mmr.auth.authenticator import Authenticator
from mmr.auth.credentials import AuthRequest
from mmr.auth.homeserver import HomeserverClients
from mmr.auth.tokens import TokenCache
from mmr.errors import MatrixError
from mmr.http.client import TrustedClient
from mmr.types import ANONYMOUS, Access, Requester
from mmr.util.clock import Clock

from tests.auth.fakes import (
    ADMIN,
    ANN,
    AS_TOKEN,
    BOT,
    GUEST,
    HOST,
    OTHER_HOST,
    SECRET,
    FakeRequest,
    make_config,
    request_for,
)
from tests.homeserver import Reply, StubHomeserver, error_reply

NO_TOKEN = (401, "M_MISSING_TOKEN")
BAD_TOKEN = (401, "M_UNKNOWN_TOKEN")
NO_GUESTS = (403, "M_GUEST_ACCESS_FORBIDDEN")
FORBIDDEN = (403, "M_FORBIDDEN")
DOWN = (502, "M_UNKNOWN")
UNAUTHORIZED = (401, "M_UNAUTHORIZED")
NOBODY = None

# API reference 2.2, with D15 (403 for missing rights) and 502 for a homeserver that
# doesn't answer. Columns: no token, shared secret, user, repository admin, guest, bad
# token, homeserver problem. A text is the user who is let in.
SHARED = "@sharedsecret"
TABLE: dict[Access, tuple[object, ...]] = {
    Access.ANYONE: (NOBODY,) * 7,
    Access.OPTIONAL: (NOBODY, SHARED, ANN, ADMIN, NO_GUESTS, NOBODY, DOWN),
    Access.USER_OR_GUEST: (NO_TOKEN, SHARED, ANN, ADMIN, GUEST, BAD_TOKEN, DOWN),
    Access.USER: (NO_TOKEN, SHARED, ANN, ADMIN, NO_GUESTS, BAD_TOKEN, DOWN),
    Access.REPO_ADMIN: (
        *(NO_TOKEN, SHARED, FORBIDDEN, ADMIN, NO_GUESTS, BAD_TOKEN, DOWN),
    ),
    Access.FEDERATION: (UNAUTHORIZED,) * 7,
}
ROLES = (None, SECRET, "ann-token", "admin-token", "guest-token", "bad-token", "down")


class AuthCase(TestCase):
    """An authenticator in front of a homeserver on loopback."""

    settings: dict[str, Any] = {}

    async def setUp(self) -> None:  # type: ignore[override]
        self.homeserver = StubHomeserver(reactor)
        url = await self.homeserver.start()
        self.homeserver.users.update(
            {"ann-token": ANN, "admin-token": ADMIN, "guest-token": GUEST}
        )
        self.homeserver.guests.add(GUEST)
        self.config = make_config(self.new_folder(), url, **self.settings)
        self.client = TrustedClient(reactor)
        clock = Clock(reactor)  # type: ignore[arg-type]
        self.cache = TokenCache(clock)
        self.homeservers = HomeserverClients(self.client, clock)
        self.auth = Authenticator(lambda: self.config, self.homeservers, self.cache)

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.client.close()
        await self.homeserver.stop()

    def new_folder(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        return folder

    def request(
        self, token: str | None = None, host: str = HOST, **more: Any
    ) -> FakeRequest:
        return request_for(self.config.domains[host], token, **more)

    async def caller(
        self, request: AuthRequest, access: Access = Access.USER
    ) -> Requester:
        """Who is let in, and the same by the short way once that is known."""
        requester = await self.auth.authenticate(request, access)
        self.assertIn(self.auth.cached(request, access), (requester, None))
        return requester

    async def refusal(
        self, request: AuthRequest, access: Access = Access.USER
    ) -> MatrixError:
        with self.assertRaises(MatrixError) as caught:
            await self.auth.authenticate(request, access)
        self.assertIsNone(self.auth.cached(request, access))
        return caught.exception

    async def outcome(self, request: AuthRequest, access: Access) -> object:
        try:
            return (await self.caller(request, access)).user_id
        except MatrixError as error:
            return error.status, error.errcode


class AccessTests(AuthCase):
    async def test_every_access_with_every_role(self) -> None:
        """R48, D15: the table of wrappers."""
        for access, expected in TABLE.items():
            for role, result in zip(ROLES, expected, strict=True):
                self.homeserver.override = Reply(500) if role == "down" else None
                # A breaker per try: what is open stays closed to the next row.
                self.homeservers = HomeserverClients(
                    self.client,
                    Clock(reactor),  # type: ignore[arg-type]
                )
                self.auth = Authenticator(
                    lambda: self.config, self.homeservers, self.cache
                )
                outcome = await self.outcome(self.request(role), access)
                self.assertEqual(outcome, result, (access, role))

    async def test_what_the_requester_says_of_each_role(self) -> None:
        guest = await self.caller(self.request("guest-token"), Access.USER_OR_GUEST)
        self.assertTrue(guest.is_guest)
        admin = await self.caller(self.request("admin-token"))
        self.assertTrue(admin.is_admin)
        self.assertEqual(admin.token, "admin-token")
        shared = await self.caller(self.request(SECRET))
        self.assertTrue(shared.is_admin and shared.is_shared_secret)
        # It has no token, so it can't be passed on by mistake.
        self.assertIsNone(shared.token)

    async def test_shared_secret_works_on_every_host_without_any_call(self) -> None:
        for host in (HOST, OTHER_HOST):
            await self.caller(self.request(SECRET, host))
        self.assertEqual(self.homeserver.requests, [])

    async def test_anyone_is_served_without_a_look_at_the_token(self) -> None:
        """A homeserver that is down doesn't take ``/healthz`` with it."""
        requester = await self.caller(self.request("ann-token"), Access.ANYONE)
        self.assertIs(requester, ANONYMOUS)
        self.assertEqual(self.homeserver.requests, [])

    async def test_federation_is_left_to_its_verifier(self) -> None:
        class Verifier:
            async def verify(self, request: AuthRequest) -> str:
                return "remote.example"

        auth = Authenticator(
            lambda: self.config, self.homeservers, self.cache, Verifier()
        )
        requester = await auth.authenticate(self.request(), Access.FEDERATION)
        self.assertEqual(requester, Requester(server="remote.example"))


class CredentialsTests(AuthCase):
    async def test_where_the_token_is_read(self) -> None:
        """R44: one token at most, and one place that counts."""
        two = ["Bearer ann-token", "Bearer ann-token"]
        parameter = "access_token=ann-token"
        cases: list[tuple[dict[str, Any], object]] = [
            ({"query": parameter}, ANN),
            ({"query": parameter, "token": "admin-token"}, ADMIN),
            ({"query": "access_token=bad", "token": "ann-token"}, ANN),
            ({"query": parameter, "headers": ["Basic x"]}, NO_TOKEN),
            ({"query": parameter, "headers": ["bearer ann-token"]}, NO_TOKEN),
            ({"query": parameter, "headers": ["Bearer"]}, NO_TOKEN),
            ({"headers": ["Bearer  ann-token"]}, BAD_TOKEN),
            ({"headers": ["Bearer ann-token, Bearer bad"]}, BAD_TOKEN),
            ({"headers": two}, NO_TOKEN),
            ({"headers": ["X-Matrix a", "Bearer ann-token"]}, NO_TOKEN),
            ({"query": f"{parameter}&{parameter}"}, NO_TOKEN),
            ({"query": "access_token="}, NO_TOKEN),
        ]
        for options, expected in cases:
            outcome = await self.outcome(self.request(**options), Access.USER)
            self.assertEqual(outcome, expected, options)

    async def test_two_headers_are_refused_even_where_a_token_is_optional(self) -> None:
        """R44."""
        request = self.request(headers=["Bearer ann-token", "Bearer admin-token"])
        self.assertEqual((await self.refusal(request, Access.OPTIONAL)).status, 401)

    async def test_what_fits_no_header_never_reaches_the_homeserver(self) -> None:
        for token in ("a%0D%0AX-Evil:+1", "a+b", "%C3%A9", "x" * 9000):
            request = self.request(query=f"access_token={token}")
            outcome = await self.outcome(request, Access.USER)
            self.assertEqual(outcome, BAD_TOKEN)
        self.assertEqual(self.homeserver.requests, [])


class HomeserverAnswerTests(AuthCase):
    async def test_the_call_looks_as_the_reference_says(self) -> None:
        """API reference 2.3 and 2.4."""
        await self.caller(self.request("ann-token"))
        (seen,) = self.homeserver.requests
        self.assertEqual(seen.path, "/_matrix/client/v3/account/whoami")
        self.assertEqual(seen.args, {})
        expected = {
            "authorization": "Bearer ann-token",
            "user-agent": "matrix-media-repo",
            "content-type": "application/json; charset=UTF-8",
            "x-forwarded-for": "192.0.2.7",
            "x-real-ip": "192.0.2.7",
        }
        self.assertEqual({k: seen.headers[k] for k in expected}, expected)

    async def test_guests_by_the_older_name_of_the_flag(self) -> None:
        body = b'{"user_id": "@g:a.example", "org.matrix.msc3069.is_guest": true}'
        self.homeserver.override = Reply(200, body)
        error = await self.refusal(self.request("any"))
        self.assertEqual((error.status, error.errcode), NO_GUESTS)

    async def test_guest_refused_by_the_homeserver_is_403(self) -> None:
        """D26."""
        self.homeserver.override = error_reply(403, "M_GUEST_ACCESS_FORBIDDEN")
        error = await self.refusal(self.request("guest-token"))
        self.assertEqual((error.status, error.errcode), NO_GUESTS)

    async def test_soft_logout_reaches_the_client(self) -> None:
        """Without it clients would throw their keys away at each token refresh."""
        self.homeserver.override = error_reply(401, "M_UNKNOWN_TOKEN", soft_logout=True)
        request = self.request("old")
        for _ in range(2):  # asked, then remembered
            error = await self.refusal(request)
            self.assertIs(error.body()["soft_logout"], True)

    async def test_locked_user_is_told_so_and_asked_about_again(self) -> None:
        self.homeserver.override = error_reply(401, "M_USER_LOCKED", soft_logout=True)
        error = await self.refusal(self.request("ann-token"))
        self.assertEqual((error.status, error.errcode), (401, "M_USER_LOCKED"))
        self.homeserver.override = None
        await self.caller(self.request("ann-token"))

    async def test_refusals_to_one_caller_never_lock_out_the_others(self) -> None:
        """R47, D34."""
        replies = [
            (error_reply(401, "M_UNKNOWN_TOKEN"), 401),
            (error_reply(403, "M_FORBIDDEN"), 403),
            (error_reply(429, "M_LIMIT_EXCEEDED", retry_after_ms=1234), 429),
            (error_reply(404, "M_UNRECOGNIZED"), 502),
        ]
        for reply, status in replies:
            self.homeserver.override = reply
            for number in range(5):
                error = await self.refusal(self.request(f"{status}-{number}"))
                self.assertEqual(error.status, status)
        self.homeserver.override = None
        self.assertEqual((await self.caller(self.request("ann-token"))).user_id, ANN)

    async def test_rate_limit_of_the_homeserver_is_passed_on(self) -> None:
        self.homeserver.override = error_reply(
            429, "M_LIMIT_EXCEEDED", retry_after_ms=1234
        )
        error = await self.refusal(self.request("ann-token"))
        self.assertEqual(error.body()["retry_after_ms"], 1234)

    async def test_homeserver_that_fails_is_left_alone(self) -> None:
        for reply in (Reply(500), Reply(200, b"<html>"), Reply(200, b"{}")):
            self.homeserver.override = reply
            error = await self.refusal(self.request("ann-token"))
            self.assertEqual(error.status, 502)
        before = len(self.homeserver.requests)
        error = await self.refusal(self.request("ann-token"))
        self.assertEqual(error.status, 503)
        self.assertIn("Homeserver unreachable", error.message)
        self.assertEqual(len(self.homeserver.requests), before)
        # The other homeserver has a breaker of its own.
        self.homeserver.override = None
        self.homeserver.users["bob-token"] = "@bob:b.example"
        await self.caller(self.request("bob-token", OTHER_HOST))

    async def test_down_then_up(self) -> None:
        """R47, D48: a network error is forgotten at once, and the log names the key."""
        await self.homeserver.stop()
        with self.assertLogs("mmr.auth", "WARNING") as logs:
            error = await self.refusal(self.request("ann-token"))
        self.assertEqual(error.status, 502)
        self.assertIn(f"{HOST} at {self.homeserver.url}", logs.output[0])
        self.assertIn("csApi", logs.output[0])
        await self.homeserver.start()
        self.assertEqual((await self.caller(self.request("ann-token"))).user_id, ANN)

    async def test_user_of_another_server_is_refused_and_logged(self) -> None:
        """R45: one homeserver must not speak for another."""
        for user in ("@x:b.example", "@x:a.example.evil", "x:a.example", "@x y:a"):
            self.homeserver.users["token"] = user
            with self.assertLogs("mmr.auth", "ERROR") as logs:
                error = await self.refusal(self.request("token"), Access.OPTIONAL)
            self.assertEqual((error.status, error.errcode), FORBIDDEN)
            self.assertIn("csApi", logs.output[0])


class CacheTests(AuthCase):
    async def test_second_request_asks_nobody(self) -> None:
        request = self.request("ann-token")
        self.assertIsNone(self.auth.cached(request, Access.USER))
        await self.auth.authenticate(request, Access.USER)
        cached = self.auth.cached(request, Access.USER)
        self.assertEqual(cached and cached.user_id, ANN)
        await self.auth.authenticate(request, Access.USER)
        self.assertEqual(self.homeserver.count("whoami"), 1)

    async def test_bad_token_is_remembered(self) -> None:
        for _ in range(3):
            await self.refusal(self.request("bad-token"))
        self.assertEqual(self.homeserver.count("whoami"), 1)

    async def test_token_counts_only_at_the_host_it_was_checked_for(self) -> None:
        """R47: the cache is keyed by host too."""
        await self.caller(self.request("ann-token"))
        error = await self.refusal(self.request("ann-token", OTHER_HOST))
        self.assertEqual(error.status, 403)

    async def test_concurrent_requests_share_one_call(self) -> None:
        self.homeserver.delay_s = 0.05
        asked = [
            Deferred.fromCoroutine(
                self.auth.authenticate(self.request("ann-token"), Access.USER)
            )
            for _ in range(10)
        ]
        await gatherResults(asked)
        self.assertEqual(self.homeserver.count("whoami"), 1)


class NoCacheTests(AuthCase):
    settings = {"accessTokens": {"maxCacheTimeSeconds": 0}}

    async def test_each_request_asks(self) -> None:
        for _ in range(3):
            await self.caller(self.request("ann-token"))
        self.assertEqual(self.homeserver.count("whoami"), 3)

    async def test_local_appservices_count_all_the_same(self) -> None:
        """A repository works before it has a homeserver (quickstart)."""
        self.assertEqual((await self.caller(self.request(AS_TOKEN))).user_id, BOT)
        self.assertEqual(self.homeserver.requests, [])


class AppserviceTests(AuthCase):
    async def outcome_as(self, user_id: str) -> object:
        return await self.outcome(
            self.request(AS_TOKEN, query=f"user_id={user_id}"), Access.USER
        )

    async def test_acts_for_its_own_user_and_namespace(self) -> None:
        """API reference 2.3."""
        bridged = "@bridge_ann:a.example"
        self.assertEqual(await self.outcome_as(""), BOT)
        self.assertEqual(await self.outcome_as(BOT), BOT)
        self.assertEqual(await self.outcome_as(bridged), bridged)
        self.assertEqual(self.homeserver.requests, [])

    async def test_namespace_has_to_fit_the_whole_id(self) -> None:
        """R46, D32: what doesn't fit is the homeserver's to decide."""
        for user in ("@x_bridge_1:a.example", ANN):
            self.assertEqual(await self.outcome_as(user), BAD_TOKEN)
        self.assertEqual(self.homeserver.count("whoami"), 2)

    async def test_counts_on_its_own_server_only(self) -> None:
        """R45: neither by the namespace nor by the homeserver's word."""
        self.homeserver.appservice_tokens.add(AS_TOKEN)
        with self.assertLogs("mmr.auth", "ERROR"):
            outcome = await self.outcome_as("@bridge_ann:b.example")
        self.assertEqual(outcome, FORBIDDEN)

    async def test_homeserver_may_confirm_an_assertion(self) -> None:
        self.homeserver.appservice_tokens.add("other-as-token")
        request = self.request("other-as-token", query=f"user_id={ANN}")
        self.assertEqual((await self.caller(request)).user_id, ANN)
        self.assertEqual(self.homeserver.requests[0].args, {b"user_id": [ANN.encode()]})

    async def test_users_token_with_an_assertion_stays_that_user(self) -> None:
        """R46: the homeserver's answer counts, not the wish."""
        request = self.request("ann-token", query=f"user_id={ADMIN}")
        requester = await self.caller(request)
        self.assertEqual((requester.user_id, requester.is_admin), (ANN, False))

    async def test_what_is_no_user_id_is_refused(self) -> None:
        for user in ("ann", "@ann", "@a:b:c:d", "@a:b/c"):
            self.assertEqual(await self.outcome_as(user), (400, "M_INVALID_PARAM"))

    async def test_several_users_are_no_assertion(self) -> None:
        """The usage API names the users it asks about in ``user_id``."""
        query = f"user_id={ANN}&user_id={GUEST}"
        request = self.request("admin-token", query=query)
        self.assertEqual((await self.caller(request)).user_id, ADMIN)


class SecrecyTests(AuthCase):
    async def test_tokens_are_in_no_log_line_error_or_repr(self) -> None:
        """R42."""
        token = "MARKED-token"
        self.homeserver.users[token] = "@x:b.example"
        request = self.request(token)
        with self.assertLogs(level=logging.DEBUG) as logs:
            errors = [await self.refusal(request)]
            self.homeserver.override = Reply(500)
            errors.append(await self.refusal(request))
            await self.homeserver.stop()
            errors.append(await self.refusal(request))
        texts = [*logs.output, *(str(error.body()) for error in errors)]
        texts.append(repr(await self.caller(self.request(AS_TOKEN))))
        for secret in (token, AS_TOKEN):
            self.assertFalse([text for text in texts if secret in text])

    async def test_client_never_sees_the_address_of_the_homeserver(self) -> None:
        await self.homeserver.stop()
        error = await self.refusal(self.request("ann-token"))
        self.assertNotIn("127.0.0.1", str(error.body()))
