"""Uploads in two steps (MSC2246; mmr-http-api.md §4.6, §4.7, §5.3)."""

from __future__ import annotations

import time

from twisted.internet.defer import Deferred, gatherResults

from mmr.types import Mxc

from tests.harness import ADMIN, HOST, Answer, ServerCase

CREATE = "/_matrix/media/v1/create"


class AsyncUploadCases(ServerCase):
    __test__ = False
    config = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "maxBytes": 10_000,
            "maxPending": 2,
            "maxAgeSeconds": 100,
        }
    }

    async def test_create_then_put_then_download(self) -> None:
        before = time.time() * 1000
        answer = await self.request("POST", CREATE, body=b"{}")
        self.assertEqual(answer.status, 200)
        mxc = Mxc.parse(answer.json["content_uri"])
        self.assertEqual(mxc.origin, HOST)
        expires = answer.json["unused_expires_at"]
        self.assertTrue(before + 99_000 < expires < time.time() * 1000 + 100_001)
        put = await self.put(mxc.media_id, b"x", headers={"Content-Type": "a/b"})
        self.assertEqual((put.status, put.json), (200, {}))
        download = await self.download(mxc.media_id)
        self.assertEqual(download.body, b"x")
        self.assertEqual(download.headers["content-type"], "a/b")
        self.assertEqual(await self.count("expiring_media"), 0)

    async def test_the_order_of_refusals(self) -> None:
        mine = await self.create()
        large = b"x" * 10_001
        foreign = f"/_matrix/media/v3/upload/other.example/{mine}"
        done = await self.upload(b"done")
        cases: list[tuple[Answer, int, str, str]] = [
            (
                await self.request("PUT", foreign, body=b"x"),
                *(403, "M_NOT_FOUND", "M_FORBIDDEN"),
            ),
            (await self.put(mine, large), 413, "M_TOO_LARGE", "M_MEDIA_TOO_LARGE"),
            (
                await self.put(done, b"x", token="bob-token"),
                *(409, "M_CANNOT_OVERWRITE_MEDIA", "M_CANNOT_OVERWRITE_MEDIA"),
            ),
            (await self.put("unknown", b"x"), 404, "M_NOT_FOUND", "M_NOT_FOUND"),
            (
                await self.put(mine, b"x", token="bob-token"),
                *(403, "M_FORBIDDEN", "M_FORBIDDEN"),
            ),
            (
                await self.put(mine, b"x", token=None),
                *(401, "M_MISSING_TOKEN", "M_MISSING_TOKEN"),
            ),
        ]
        for answer, status, errcode, mr_errcode in cases:
            self.assertEqual(answer.status, status, answer.body)
            self.assertEqual(answer.json["errcode"], errcode)
            self.assertEqual(answer.json["mr_errcode"], mr_errcode)
        self.assertEqual((await self.put(mine, b"x")).status, 200)

    async def test_of_two_puts_at_once_one_wins(self) -> None:
        """D49: 200 and 409, and what was acknowledged is served."""
        for same in (False, True):
            media_id = await self.create()
            bodies = [b"same", b"same"] if same else [b"one", b"other"]
            answers = await gatherResults(
                [Deferred.fromCoroutine(self.put(media_id, body)) for body in bodies]
            )
            self.assertEqual(sorted(answer.status for answer in answers), [200, 409])
            winner = bodies[[answer.status for answer in answers].index(200)]
            self.assertEqual((await self.download(media_id)).body, winner)
        await self.server.sweep.delete_queued()
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertEqual(len(self.files()), 2)

    async def test_the_later_of_two_puts_is_told_so_however_close_they_are(
        self,
    ) -> None:
        """The other's commit comes between the look-ups of the check."""
        media_id = await self.create()
        original = self.server.stores.pending.get_pending

        async def commit_first(origin: str, wanted: str) -> object:
            patch.restore()
            self.assertEqual((await self.put(media_id, b"one")).status, 200)
            return await original(origin, wanted)

        patch = self.patch(self.server.stores.pending, "get_pending", commit_first)
        self.assertEqual((await self.put(media_id, b"other")).status, 409)

    async def test_a_put_that_fails_leaves_the_id_usable(self) -> None:
        """Spec §3.3."""
        media_id = await self.create()
        path = f"/_matrix/media/v3/upload/{HOST}/{media_id}"
        wire = await self.wire()
        wire.send(self.head("PUT", path, "Content-Length: 100") + b"x" * 50)
        wire.abort()
        wire = await self.wire()
        wire.send(self.head("PUT", path, "Transfer-Encoding: chunked"))
        wire.send_chunk(b"x" * 10_001)
        self.assertEqual((await wire.answer()).status, 413)
        self.assertEqual((await self.put(media_id, b"x")).status, 200)

    async def test_a_put_wakes_the_downloads_that_wait(self) -> None:
        media_id = await self.create()
        downloads = [Deferred.fromCoroutine(self.download(media_id)) for _ in range(3)]
        waiting = self.server.waiters._waiting
        await self.eventually(lambda: len(waiting.get(Mxc(HOST, media_id), ())) == 3)
        await self.put(media_id, b"here it is")
        for answer in await gatherResults(downloads):
            self.assertEqual((answer.status, answer.body), (200, b"here it is"))
        self.assertEqual(waiting, {})

    async def test_zero_is_no_wait(self) -> None:
        """D24."""
        media_id = await self.create()
        for timeout in ("0", "1"):
            path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
            answer = await self.get(f"{path}?timeout_ms={timeout}")
            self.assertEqual(answer.status, 504)
            self.assertEqual(answer.json["errcode"], "M_NOT_YET_UPLOADED")

    async def test_a_thumbnail_waits_too(self) -> None:
        media_id = await self.create()
        answer = await self.thumbnail(media_id, "width=32&height=32&timeout_ms=0")
        self.assertEqual(answer.status, 504)

    async def test_nobody_waits_for_what_was_never_reserved(self) -> None:
        self.assertEqual((await self.download("unknown")).status, 404)

    async def test_a_client_that_leaves_waits_no_longer(self) -> None:
        """R66."""
        media_id = await self.create()
        wire = await self.wire()
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("GET", path))
        await self.eventually(lambda: len(self.server.waiters._waiting) == 1)
        wire.abort()
        await self.eventually(lambda: not self.server.waiters._waiting)

    async def test_pending_ids_are_limited_per_user(self) -> None:
        """D6, R78, R81."""
        creates = [
            Deferred.fromCoroutine(self.request("POST", CREATE)) for _ in range(6)
        ]
        answers = await gatherResults(creates)
        statuses = sorted(answer.status for answer in answers)
        self.assertEqual(statuses, [200] * 2 + [429] * 4)
        refused = next(answer for answer in answers if answer.status == 429)
        self.assertEqual(refused.json["errcode"], "M_LIMIT_EXCEEDED")
        wait_ms = refused.json["retry_after_ms"]
        self.assertTrue(0 < wait_ms <= 100_000)
        self.assertEqual(int(refused.headers["retry-after"]), -(-wait_ms // 1000))
        await self.create(token="bob-token")

    async def test_filling_an_id_frees_its_place(self) -> None:
        ids = [await self.create(), await self.create()]
        await self.put(ids[0], b"x")
        await self.create()

    async def test_an_expired_id_is_404_and_frees_its_place(self) -> None:
        ids = [await self.create(), await self.create()]
        await self.expire()
        self.assertEqual((await self.put(ids[0], b"x")).status, 404)
        self.assertEqual((await self.download(ids[0])).status, 404)
        await self.create()

    async def test_expired_ids_are_deleted_in_the_end(self) -> None:
        """D49. An upload that began in time may still run for an hour."""
        await self.create()
        await self.expire(100_000)
        await self.server._expire_pending()
        self.assertEqual(await self.count("expiring_media"), 1)
        await self.expire(2 * 3600 * 1000)
        await self.server._expire_pending()
        self.assertEqual(await self.count("expiring_media"), 0)

    async def expire(self, age_ms: int = 1000) -> None:
        """Let every pending id have expired that long ago."""

        def expire_txn(txn) -> None:  # type: ignore[no-untyped-def]
            then = self.server.clock.time_ms() - age_ms
            txn.execute("UPDATE expiring_media SET expires_ts = ?", (then,))

        await self.server.db.interaction("expire", expire_txn)

    async def test_guests_cannot_create(self) -> None:
        answer = await self.request("POST", CREATE, token="guest-token")
        self.assertEqual(answer.status, 403)

    async def test_an_admin_has_no_special_rights_here(self) -> None:
        media_id = await self.create()
        self.assertIn(ADMIN, self.server.config.admins)
        answer = await self.put(media_id, b"x", token="admin-token")
        self.assertEqual(answer.status, 403)


class AsyncUploadsOnSqlite(AsyncUploadCases):
    __test__ = True


class AsyncUploadsOnPostgres(AsyncUploadCases):
    __test__ = True
    engine = "postgres"
