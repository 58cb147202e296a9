"""``rateLimit`` over HTTP: who is charged, and for what (R78 to R80, R83)."""

from __future__ import annotations

import io
import math
import os
from typing import ClassVar

from PIL import Image

from twisted.internet.defer import Deferred

from mmr.http.addresses import address_group
from mmr.limits.callers import CallerLimits

from tests.harness import HOST, ServerCase, png
from tests.rest.remote_case import RemoteCase

LIMITS = {
    "enabled": True,
    "requestsPerSecond": 0.2,
    "burst": 4,
    "pathsPerClient": 1,
    "buckets": {
        "downloads": {
            "capacityBytes": 10_000,
            "drainBytesPerMinute": 6000,
            "overflowLimitBytes": 2000,
        }
    },
}


class RequestTests(ServerCase):
    config: ClassVar = {"rateLimit": LIMITS}

    async def burst(self, path: str, **more: object) -> list[int]:
        return [(await self.get(path, **more)).status for _ in range(6)]

    async def test_a_user_has_a_budget_whatever_the_path(self) -> None:
        """R79."""
        statuses = [
            (await self.download(f"nothing{number}")).status for number in range(1000)
        ]
        # One comes back in five seconds, which a thousand requests may take.
        self.assertEqual(statuses[:4], [404] * 4)
        self.assertLess(statuses.count(404), 20)
        self.assertEqual(set(statuses), {404, 429})

    async def test_the_refusal_says_when_to_come_back(self) -> None:
        """R78, D1, D19."""
        for _ in range(4):
            await self.download("nothing")
        answer = await self.download("nothing")
        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.json["errcode"], "M_LIMIT_EXCEEDED")
        wait_ms = answer.json["retry_after_ms"]
        self.assertGreater(wait_ms, 3000)
        self.assertLessEqual(wait_ms, 5001)
        self.assertEqual(answer.headers["retry-after"], str(math.ceil(wait_ms / 1000)))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertEqual(answer.headers["x-rate-limit-limit"], "0.20")
        self.assertEqual(answer.headers["ratelimit-remaining"], "0")
        self.assertNotIn("x-rate-limit-request-forwarded-for", answer.headers)

    async def test_users_behind_one_address_have_budgets_of_their_own(self) -> None:
        for token in ("alice-token", "bob-token", "guest-token"):
            statuses = [
                (await self.download("nothing", token=token)).status for _ in range(4)
            ]
            self.assertEqual(statuses, [404] * 4, token)

    async def test_the_anonymous_share_that_of_their_address(self) -> None:
        paths = ("/healthz", "/nowhere", f"/_matrix/media/v3/download/{HOST}/a")
        for _ in range(2):
            for path in paths:
                await self.get(path, token=None)
        for path in paths:
            self.assertEqual((await self.get(path, token=None)).status, 429, path)
        self.assertEqual((await self.download("nothing")).status, 429)

    async def test_addresses_of_one_network_share_a_budget(self) -> None:
        """R79: an IPv6 /64 is one subscriber; another one is not concerned."""

        async def ask(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            answer = await self.get("/healthz", token=None, headers=headers)
            return answer.status

        statuses = [await ask(f"2001:db8:0:1:{n:x}::{n:x}") for n in range(1, 9)]
        self.assertEqual(statuses, [200] * 4 + [429] * 4)
        self.assertEqual(await ask("2001:db8:0:2::1"), 200)
        self.assertEqual(await ask("203.0.113.7"), 200)

    async def test_made_up_tokens_lock_nobody_out_whose_token_is_known(self) -> None:
        """R83: and they stop reaching the homeserver."""
        self.assertEqual((await self.download("nothing")).status, 404)
        statuses = [
            (await self.download("nothing", token=f"made-up{number}")).status
            for number in range(8)
        ]
        self.assertEqual(statuses, [401] * 4 + [429] * 4)
        self.assertEqual((await self.download("nothing")).status, 404)

    async def test_preflights_are_free(self) -> None:
        for _ in range(8):
            answer = await self.request("OPTIONS", "/_matrix/media/v3/upload")
            self.assertEqual(answer.status, 204)

    async def test_hot_answers_are_counted_too(self) -> None:
        media_id = await self.upload(png())
        self.server.caller_limits.update(self.server.config.rate_limit)
        statuses = [(await self.download(media_id)).status for _ in range(6)]
        self.assertEqual(statuses, [200] * 3 + [429] * 3)

    async def test_a_reload_changes_the_limits(self) -> None:
        for _ in range(5):
            await self.download("nothing")
        relaxed = self.server.config.rate_limit.model_copy(update={"burst": 100})
        self.server.reload(
            self.server.config.model_copy(update={"rate_limit": relaxed})
        )
        self.assertEqual((await self.download("nothing")).status, 404)
        off = relaxed.model_copy(update={"enabled": False})
        self.server.reload(self.server.config.model_copy(update={"rate_limit": off}))
        answer = await self.download("nothing")
        self.assertNotIn("ratelimit-limit", answer.headers)


def test_the_addresses_of_a_subscriber_are_one_subject() -> None:
    """R79: 65,536 of a /64."""
    groups = {address_group(f"2001:db8:0:1::{number:x}") for number in range(65_536)}
    assert len(groups) == 1


class DownloadTests(ServerCase):
    config: ClassVar = {
        "rateLimit": {**LIMITS, "requestsPerSecond": 1000, "burst": 1000}
    }

    @property
    def limits(self) -> CallerLimits:
        return self.server.caller_limits

    def level(self, user: str = "@alice:media.example") -> float:
        return self.limits.buckets["downloads"].level(f"user {user}")

    async def media(self, size: int) -> str:
        return await self.upload(bytes(size), "application/octet-stream")

    async def charged(self, size: float) -> None:
        """The level comes to this; it drains 100 bytes a second meanwhile."""
        await self.eventually(lambda: size - 300 < self.level() <= size)

    async def test_what_is_sent_is_charged(self) -> None:
        """R80, D60."""
        media_id = await self.media(5000)
        await self.download(media_id)
        await self.charged(5000)

    async def test_ranges_are_charged_for_their_bytes(self) -> None:
        media_id = await self.media(9000)
        await self.download(media_id, headers={"Range": "bytes=0-999"})
        await self.charged(1000)

    async def test_304_HEAD_and_failures_cost_nothing(self) -> None:
        """D59."""
        media_id = await self.media(9000)
        etag = f'"{(await self.record(media_id)).sha256_hash}"'
        answer = await self.download(media_id, headers={"If-None-Match": etag})
        self.assertEqual(answer.status, 304)
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        self.assertEqual((await self.request("HEAD", path)).status, 200)
        await self.download(media_id, headers={"Range": "bytes=99999-"})
        for number in range(6):
            await self.download(f"nothing{number}")
            await self.get(f"/_matrix/client/v1/media/download/127.0.0.1:1/x{number}")
        self.assertEqual(self.level(), 0)

    async def test_a_full_bucket_refuses_until_it_has_drained(self) -> None:
        media_id = await self.media(6000)
        self.assertEqual((await self.download(media_id)).status, 200)
        # The overflow lets it pass the capacity once.
        self.assertEqual((await self.download(media_id)).status, 200)
        answer = await self.download(media_id)
        self.assertEqual(answer.status, 429)
        self.assertGreater(answer.json["retry_after_ms"], 50_000)
        self.assertIn("retry-after", answer.headers)
        # Another user is not concerned.
        answer = await self.download(media_id, token="bob-token")
        self.assertEqual(answer.status, 200)

    async def test_what_is_on_its_way_counts(self) -> None:
        media_id = await self.media(7000)
        answers = [Deferred.fromCoroutine(self.download(media_id)) for _ in range(6)]
        statuses = [(await answer).status for answer in answers]
        self.assertLessEqual(statuses.count(200), 2)

    async def test_a_download_that_breaks_off_is_charged_what_was_sent(self) -> None:
        media_id = await self.media(9000)
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"

        async def broken(*_: object) -> None:
            raise OSError("injected")

        self.patch(type(self.server.content), "_open", broken)
        self.assertEqual((await self.get(path)).status, 500)
        self.assertLess(self.level(), 500)
        self.flushLoggedErrors()

    async def test_thumbnails_are_charged_their_own_size(self) -> None:
        media_id = await self.upload(png(400, 300))
        answer = await self.thumbnail(media_id)
        await self.charged(len(answer.body))


class StrangersTests(RemoteCase):
    """With ``freezeUnauthenticatedMedia`` off, as in old MMR."""

    config: ClassVar = {
        "repo": {"freezeUnauthenticatedMedia": False},
        "rateLimit": {**LIMITS, "requestsPerSecond": 1000, "burst": 1000},
    }

    def level(self) -> float:
        buckets = self.server.caller_limits.buckets["downloads"]
        return buckets.level("address 127.0.0.1")

    async def test_what_they_have_fetched_and_drawn_is_their_addresss(self) -> None:
        """R41, R80: and the next one is refused when that is too much."""
        self.reply_file(bytes(5000), "application/octet-stream")
        prefix = "/_matrix/media/v3"
        path = self.path(prefix=f"{prefix}/download")
        self.assertEqual((await self.get(path, token=None)).status, 200)
        await self.eventually(lambda: 4500 < self.level() <= 5000)

        noise = io.BytesIO()
        Image.frombytes("RGB", (128, 128), os.urandom(128 * 128 * 3)).save(noise, "PNG")
        media_id = await self.upload(noise.getvalue())
        query = "width=32&height=32&method=crop"
        before = self.level()
        drawn = await self.get(
            f"{prefix}/thumbnail/{HOST}/{media_id}?{query}", token=None
        )
        self.assertEqual(drawn.status, 200)
        self.assertGreater(len(drawn.body), 2000)
        await self.eventually(lambda: self.level() > before + 1000)

        statuses = [(await self.get(path, token=None)).status for _ in range(3)]
        self.assertEqual(statuses[-1], 429)
        self.assertEqual((await self.get(path)).status, 200)
