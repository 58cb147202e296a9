"""The memory of checked tokens."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeClock
from twisted.trial.unittest import TestCase

from mmr.auth import tokens
from mmr.auth.identity import BadToken, Identity, Verdict
from mmr.auth.tokens import TokenCache
from mmr.http.client import UpstreamUnavailable
from mmr.util.clock import Clock

from tests.auth.fakes import ANN, HOST, OTHER_HOST


class TokenCacheTests(TestCase):
    def setUp(self) -> None:
        self.time = FakeClock()
        self.cache = TokenCache(Clock(self.time))
        self.key = TokenCache.key(HOST, "token", None)

    async def keep(
        self, verdict: Verdict, key: bytes | None = None, ttl_s: float = 60
    ) -> None:
        async def answer() -> Verdict:
            return verdict

        await self.cache.ask(key or self.key, None, ttl_s, answer)

    async def test_yes_is_kept_for_the_configured_time(self) -> None:
        """R47."""
        await self.keep(Identity(ANN))
        self.time.advance(59)
        self.assertEqual(self.cache.get(self.key), Identity(ANN))
        self.time.advance(1)
        self.assertIsNone(self.cache.get(self.key))

    async def test_definite_no_is_kept_but_never_for_hours(self) -> None:
        """R47: a homeserver that was confused for a moment locks nobody out."""
        await self.keep(BadToken(), ttl_s=43200)
        self.assertEqual(self.cache.get(self.key), BadToken())
        self.time.advance(300)
        self.assertIsNone(self.cache.get(self.key))

    async def test_zero_seconds_keep_nothing(self) -> None:
        await self.keep(Identity(ANN), ttl_s=0)
        self.assertIsNone(self.cache.get(self.key))

    async def test_failed_call_is_not_kept(self) -> None:
        """R47, D48."""

        async def fail() -> Verdict:
            raise UpstreamUnavailable("down")

        with self.assertRaises(UpstreamUnavailable):
            await self.cache.ask(self.key, None, 60, fail)
        self.assertIsNone(self.cache.get(self.key))
        await self.keep(Identity(ANN))
        self.assertEqual(self.cache.get(self.key), Identity(ANN))

    def test_keys_tell_host_token_and_user_apart_and_hide_them(self) -> None:
        """R42, R47: a keyed digest, different for each of the three."""
        keys = {
            TokenCache.key(HOST, "token", None),
            TokenCache.key(OTHER_HOST, "token", None),
            TokenCache.key(HOST, "token", ANN),
            TokenCache.key(HOST + "t", "oken", None),
        }
        self.assertEqual(len(keys), 4)
        self.assertTrue(all(b"token" not in key for key in keys))

    async def test_concurrent_questions_share_one_call(self) -> None:
        answer: Deferred[Verdict] = Deferred()
        calls = []

        async def whoami() -> Verdict:
            calls.append(1)
            return await answer

        asked = [
            Deferred.fromCoroutine(self.cache.ask(self.key, None, 60, whoami))
            for _ in range(5)
        ]
        answer.callback(Identity(ANN))
        self.assertEqual([await each for each in asked], [Identity(ANN)] * 5)
        self.assertEqual(len(calls), 1)

    async def test_logout_forgets_all_tokens_of_the_user_and_no_others(self) -> None:
        """R47."""
        other = TokenCache.key(HOST, "phone", None)
        bobs = TokenCache.key(HOST, "bob", None)
        await self.keep(Identity(ANN))
        await self.keep(Identity(ANN), other)
        await self.keep(Identity("@bob:a.example"), bobs)
        self.cache.drop_user(ANN)
        self.assertIsNone(self.cache.get(self.key))
        self.assertIsNone(self.cache.get(other))
        self.assertIsNotNone(self.cache.get(bobs))

    async def test_answer_from_before_a_logout_is_not_kept_after_it(self) -> None:
        """R47: nor is it shared with those who ask after the logout."""
        early: Deferred[Verdict] = Deferred()

        async def slow() -> Verdict:
            return await early

        first = Deferred.fromCoroutine(self.cache.ask(self.key, None, 60, slow))
        self.cache.drop_user(ANN)
        await self.keep(BadToken())
        early.callback(Identity(ANN))
        self.assertEqual(await first, Identity(ANN))
        self.assertEqual(self.cache.get(self.key), BadToken())

    async def test_clear_forgets_everything(self) -> None:
        await self.keep(Identity(ANN))
        await self.keep(BadToken(), TokenCache.key(HOST, "bad", None))
        self.cache.clear()
        self.assertIsNone(self.cache.get(self.key))
        self.assertIsNone(self.cache.get(TokenCache.key(HOST, "bad", None)))

    async def test_made_up_tokens_push_no_user_out(self) -> None:
        """Strangers can't grow the cache, nor empty it."""
        self.patch(tokens, "_MAX_USERS", 2)
        self.patch(tokens, "_MAX_REFUSED", 2)
        self.cache = TokenCache(Clock(self.time))
        await self.keep(Identity(ANN))
        guesses = [TokenCache.key(HOST, f"guess{n}", None) for n in range(5)]
        for guess in guesses:
            await self.keep(BadToken(), guess)
        self.assertIsNotNone(self.cache.get(self.key))
        self.assertEqual([self.cache.get(g) for g in guesses[:3]], [None] * 3)

    async def test_least_recently_used_gives_way(self) -> None:
        self.patch(tokens, "_MAX_USERS", 2)
        self.cache = TokenCache(Clock(self.time))
        second, third = (TokenCache.key(HOST, t, None) for t in ("2", "3"))
        await self.keep(Identity(ANN))
        await self.keep(Identity(ANN), second)
        self.cache.get(self.key)
        await self.keep(Identity(ANN), third)
        self.assertIsNotNone(self.cache.get(self.key))
        self.assertIsNone(self.cache.get(second))

    async def test_ignored_assertion_is_not_kept(self) -> None:
        """R46: with ever new ``user_id`` one user could fill the cache."""

        async def whoami() -> Verdict:
            return Identity(ANN)

        key = TokenCache.key(HOST, "token", "@bob:a.example")
        await self.cache.ask(key, "@bob:a.example", 60, whoami)
        self.assertIsNone(self.cache.get(key))
