"""Quotas hold against races, on both engines (R81, D2, D52)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults

from tests.harness import HOST, Answer, ServerCase

UPLOAD = "/_matrix/media/v3/upload"
USAGE = "/_matrix/media/unstable/org.matrix.msc4034/usage"
BOB_BYTES = 10_000


class QuotaCases(ServerCase):
    __test__: ClassVar[bool] = False
    config = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "quotas": {
                "enabled": True,
                "users": [
                    {"glob": "@alice:*", "maxFiles": 3},
                    {"glob": "@bob:*", "maxBytes": BOB_BYTES},
                    {"glob": "@admin:*", "maxBytes": 0, "maxFiles": 0},
                ],
            },
        }
    }

    async def together(self, *bodies: bytes, token: str) -> list[Answer]:
        """Upload all of them at once."""
        calls = [
            Deferred.fromCoroutine(self.request("POST", UPLOAD, body=body, token=token))
            for body in bodies
        ]
        return list(await gatherResults(calls))

    async def test_fifty_uploads_at_a_quota_for_three(self) -> None:
        bodies = [b"file %d" % number for number in range(50)]
        answers = await self.together(*bodies, token="alice-token")
        statuses = sorted(answer.status for answer in answers)
        self.assertEqual(statuses, [200] * 3 + [403] * 47)
        self.assertEqual(await self.count("media"), 3)
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)
        self.assertEqual(len(self.files()), 3)

    async def test_of_two_that_fit_only_alone_one_wins(self) -> None:
        one, other = b"a" * 6000, b"b" * 6000
        answers = await self.together(one, other, token="bob-token")
        self.assertEqual(sorted(answer.status for answer in answers), [200, 403])
        refused = next(answer for answer in answers if answer.status == 403)
        self.assertEqual(refused.json["errcode"], "M_FORBIDDEN")
        self.assertEqual(refused.json["mr_errcode"], "M_QUOTA_EXCEEDED")
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)
        self.assertEqual(len(self.files()), 1)

    async def test_the_quota_can_be_used_to_the_last_byte(self) -> None:
        await self.upload(b"a" * BOB_BYTES, token="bob-token")
        for body in (b"x", b"y"):
            answer = await self.request("POST", UPLOAD, body=body, token="bob-token")
            self.assertEqual(answer.status, 403)
        usage = await self.get(USAGE, token="bob-token")
        self.assertEqual(usage.json["org.matrix.msc4034.storage.used"], BOB_BYTES)

    async def test_a_chunked_upload_is_stopped_where_it_passes(self) -> None:
        wire = await self.wire()
        lines = ("Transfer-Encoding: chunked",)
        wire.send(self.head("POST", UPLOAD, *lines, token="bob-token"))
        wire.send_chunk(b"x" * (BOB_BYTES - 1))
        wire.send_chunk(b"x" * 300_000)
        self.assertEqual((await wire.answer()).status, 403)
        await self.eventually(self.is_empty)

    async def test_a_chunked_upload_that_just_fits_is_taken(self) -> None:
        wire = await self.wire()
        lines = ("Transfer-Encoding: chunked",)
        wire.send(self.head("POST", UPLOAD, *lines, token="bob-token"))
        wire.send_chunk(b"x" * BOB_BYTES)
        wire.send_chunk(b"")
        self.assertEqual((await wire.answer()).status, 200)

    async def test_an_upload_that_was_given_up_makes_room(self) -> None:
        wire = await self.wire()
        line = f"Content-Length: {BOB_BYTES}"
        wire.send(self.head("POST", UPLOAD, line, token="bob-token") + b"x" * 5000)
        await self.eventually(lambda: self.reserved(1))
        body = b"y" * BOB_BYTES
        answer = await self.request("POST", UPLOAD, body=body, token="bob-token")
        self.assertEqual(answer.status, 403)
        wire.abort()
        await self.eventually(lambda: self.reserved(0))
        await self.upload(body, token="bob-token")

    async def test_an_upload_of_hours_is_counted_anew_at_its_end(self) -> None:
        """R81: its reservation ended, as that of a killed process does."""
        line = f"Content-Length: {BOB_BYTES - 1000}"
        for others, status in ((b"x" * 900, 200), (b"y" * 5000, 403)):
            wire = await self.wire()
            wire.send(self.head("POST", UPLOAD, line, token="bob-token") + others[:1])
            await self.eventually(lambda: self.reserved(1))
            self.assertEqual(await self.server.stores.quotas.delete_old(-60_000), 1)
            await self.upload(others, token="bob-token")
            wire.send(bytes(BOB_BYTES - 1001))
            self.assertEqual((await wire.answer()).status, status)
            self.assertEqual(await self.count("mmr_quota_reservations"), 0)
            query = "SELECT media_id FROM media"
            for row in await self.server.db.fetch_all("all", query):
                await self.server.db.interaction(
                    "delete", self.server.stores.media.delete_media_txn, HOST, row[0]
                )

    async def reserved(self, count: int) -> bool:
        return await self.count("mmr_quota_reservations") == count

    async def test_the_same_upload_again_takes_nothing(self) -> None:
        for _ in range(3):
            await self.upload(b"a" * 5000, token="bob-token")
        self.assertEqual(await self.count("media"), 1)
        usage = await self.get(USAGE, token="bob-token")
        self.assertEqual(usage.json["org.matrix.msc4034.storage.used"], 5000)
        self.assertEqual(await self.count("mmr_quota_reservations"), 0)

    async def test_zero_is_no_limit(self) -> None:
        """D52."""
        for number in range(5):
            await self.upload(b"%d" % number * 5000, token="admin-token")

    async def test_async_uploads_count_too(self) -> None:
        ids = [await self.create() for _ in range(4)]
        answers = [await self.put(media_id, media_id.encode()) for media_id in ids]
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 403])
        # A refused upload leaves its id usable, should room be made.
        self.assertEqual(await self.count("expiring_media"), 1)

    async def test_config_tells_the_quota(self) -> None:
        path = "/_matrix/media/v3/config"
        bob = (await self.get(path, token="bob-token")).json
        self.assertEqual(bob["org.matrix.msc4034.storage.size"], BOB_BYTES)
        self.assertNotIn("org.matrix.msc4034.storage.max_files", bob)
        alice = (await self.get(path)).json
        self.assertEqual(alice["org.matrix.msc4034.storage.max_files"], 3)


class QuotasOnSqlite(QuotaCases):
    __test__ = True


class QuotasOnPostgres(QuotaCases):
    __test__ = True
    engine = "postgres"
