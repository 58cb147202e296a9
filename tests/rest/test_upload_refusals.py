"""Uploads that are refused, and that leave nothing (issue 2, "Bad input")."""

from __future__ import annotations

import errno

from tests.datastores.fakes import FaultyFileSystem
from tests.harness import Answer, ServerCase
from tests.homeserver import error_reply

LARGE = 600_000  # more than the writer's memory
UPLOAD = "/_matrix/media/v3/upload"
MAX = 1_000_000
MIN = 10


class UploadSizes(ServerCase):
    """``maxBytes`` and ``minBytes``, by the announced and by the real length (R65)."""

    config = {
        "uploads": {
            "maxBytes": MAX,
            "minBytes": MIN,
            "minFreeBytes": 0,
            "quotas": {"enabled": True, "users": [{"glob": "@*", "maxFiles": 100}]},
        }
    }

    async def chunked(self, size: int) -> Answer:
        wire = await self.wire()
        wire.send(self.head("POST", UPLOAD, "Transfer-Encoding: chunked"))
        for start in range(0, size, 100_000):
            wire.send_chunk(b"x" * min(100_000, size - start))
        wire.send_chunk(b"")
        return await wire.answer()

    async def declared(self, size: int) -> Answer:
        return await self.request("POST", UPLOAD, body=b"x" * size)

    async def test_the_limits_themselves_are_accepted(self) -> None:
        """Spec §3.1."""
        for size in (MAX, MIN):
            self.assertEqual((await self.declared(size)).status, 200)
            self.assertEqual((await self.chunked(size)).status, 200)

    async def test_one_byte_too_many_is_413(self) -> None:
        """D4."""
        for answer in (await self.declared(MAX + 1), await self.chunked(MAX + 1)):
            self.assertEqual(answer.status, 413)
            self.assertEqual(answer.json["errcode"], "M_TOO_LARGE")
            self.assertEqual(answer.json["mr_errcode"], "M_MEDIA_TOO_LARGE")
        await self.eventually(self.is_empty)

    async def test_one_byte_too_few_is_400(self) -> None:
        """D3, D4."""
        for answer in (
            await self.declared(MIN - 1),
            await self.chunked(MIN - 1),
            await self.declared(0),
            await self.chunked(0),
        ):
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["mr_errcode"], "M_MEDIA_TOO_SMALL")
        await self.eventually(self.is_empty)

    async def test_too_large_is_said_before_the_body(self) -> None:
        """R65: also before `100 Continue`, and the connection ends."""
        for more in ((), ("Expect: 100-continue",)):
            wire = await self.wire()
            wire.send(self.head("POST", UPLOAD, f"Content-Length: {MAX + 1}", *more))
            answer = await wire.answer()
            self.assertEqual(answer.status, 413)
            self.assertEqual(answer.headers["connection"], "close")
            await wire.closed()
        self.assertTrue(await self.is_empty())

    async def test_a_chunked_body_is_refused_where_it_passes_the_limit(self) -> None:
        wire = await self.wire()
        wire.send(self.head("POST", UPLOAD, "Transfer-Encoding: chunked"))
        wire.send_chunk(b"x" * MAX)
        wire.send_chunk(b"x" * 65536)
        # The end of the body never comes.
        self.assertEqual((await wire.answer()).status, 413)
        await self.eventually(self.is_empty)

    async def test_an_expected_body_is_asked_for(self) -> None:
        wire = await self.wire()
        line = "Content-Length: 100"
        wire.send(self.head("POST", UPLOAD, line, "Expect: 100-continue"))
        self.assertEqual((await wire.answer()).status, 100)
        wire.send(b"x" * 100)
        self.assertEqual((await wire.answer()).status, 200)

    async def test_a_client_that_leaves_takes_everything_along(self) -> None:
        """R66: temporary file, reservation, row, intent; within a second."""
        for more in (f"Content-Length: {MAX}", "Transfer-Encoding: chunked"):
            wire = await self.wire()
            wire.send(self.head("POST", UPLOAD, more))
            if more.startswith("T"):
                wire.send_chunk(b"x" * LARGE)
            else:
                wire.send(b"x" * LARGE)
            await self.eventually(lambda: bool(self.files()))
            self.assertEqual(await self.count("mmr_quota_reservations"), 1)
            wire.abort()
            await self.eventually(self.is_empty)

    async def test_a_body_that_ends_early_is_not_stored(self) -> None:
        """R65: the client closes its side where more was announced."""
        wire = await self.wire()
        wire.send(self.head("POST", UPLOAD, "Content-Length: 1000") + b"x" * 999)
        assert wire.transport is not None
        wire.transport.loseConnection()
        await wire.closed()
        await self.eventually(self.is_empty)

    async def test_a_broken_chunk_is_400_and_stores_nothing(self) -> None:
        wire = await self.wire()
        wire.send(self.head("POST", UPLOAD, "Transfer-Encoding: chunked"))
        wire.send_chunk(b"x" * 1000)
        wire.send(b"zz\r\n")
        self.assertEqual((await wire.answer()).status, 400)
        await self.eventually(self.is_empty)


class UploadAccess(ServerCase):
    """Who may upload at all. Decided before anything costly (R40)."""

    async def refused(self, token: str | None) -> Answer:
        """Announce a large body, and see that it is not wanted."""
        wire = await self.wire()
        lines = ("Content-Length: 100000000", "Expect: 100-continue")
        wire.send(self.head("POST", UPLOAD, *lines, token=token))
        answer = await wire.answer()
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(await self.count("media"), 0)
        self.assertEqual(self.files(), [])
        return answer

    async def test_no_token_is_401(self) -> None:
        answer = await self.refused(None)
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.json["errcode"], "M_MISSING_TOKEN")
        self.assertEqual(self.homeserver.requests, [])

    async def test_a_bad_token_is_401(self) -> None:
        answer = await self.refused("nobody")
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.json["errcode"], "M_UNKNOWN_TOKEN")

    async def test_a_body_sent_all_the_same_is_not_kept(self) -> None:
        wire = await self.wire()
        wire.send(self.head("POST", UPLOAD, "Content-Length: 3000000", token=None))
        wire.send(b"x" * LARGE)
        self.assertEqual((await wire.answer()).status, 401)
        self.assertEqual(self.files(), [])

    async def test_guests_are_403(self) -> None:
        answer = await self.refused("guest-token")
        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.json["errcode"], "M_GUEST_ACCESS_FORBIDDEN")

    async def test_a_homeserver_that_is_down_is_no_reason_to_log_out(self) -> None:
        await self.homeserver.stop()
        answer = await self.refused("alice-token")
        self.assertIn(answer.status, (502, 503))
        await self.homeserver.start()
        self.assertEqual((await self.request("POST", UPLOAD, body=b"x")).status, 200)

    async def test_a_homeserver_that_fails_is_no_reason_to_log_out(self) -> None:
        self.homeserver.override = error_reply(500, "M_UNKNOWN")
        self.assertIn((await self.refused("alice-token")).status, (502, 503))

    async def test_a_known_token_needs_no_homeserver(self) -> None:
        await self.upload(b"x")
        await self.homeserver.stop()
        await self.upload(b"y")

    async def test_quarantined_content_is_403_whoever_sends_it(self) -> None:
        """D5, R86."""
        media_id = await self.upload(b"bad")
        await self.quarantine(media_id)
        for token in ("alice-token", "bob-token"):
            answer = await self.request("POST", UPLOAD, body=b"bad", token=token)
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.json["errcode"], "M_FORBIDDEN")
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(len(self.files()), 1)


class FullDisk(ServerCase):
    """R97, R92: a failing disk."""

    async def fails(self, call: str, error: int, size: int) -> Answer:
        self.store.fs = FaultyFileSystem(call, error, times=1)
        return await self.request("POST", UPLOAD, body=b"x" * size)

    async def test_a_full_disk_is_503_and_leaves_nothing(self) -> None:
        for call in ("create", "write", "fsync"):
            for size in (1000, LARGE):
                answer = await self.fails(call, errno.ENOSPC, size)
                self.assertEqual(answer.status, 503, (call, size))
                self.assertNotIn(str(self.folder), answer.body.decode())
        await self.settled()
        self.assertTrue(await self.is_empty())

    async def test_a_broken_disk_is_500_and_leaves_nothing(self) -> None:
        for call in ("create", "write", "fsync", "rename"):
            answer = await self.fails(call, errno.EIO, LARGE)
            self.assertEqual(answer.status, 500, call)
        await self.settled()
        self.assertTrue(await self.is_empty())

    async def test_what_is_there_can_still_be_read(self) -> None:
        media_id = await self.upload(b"before")
        await self.fails("write", errno.ENOSPC, 1000)
        self.assertEqual((await self.download(media_id)).body, b"before")
        await self.upload(b"after")

    async def settled(self) -> None:
        """An object whose folder could not be flushed is deleted by the queue."""
        await self.server.sweep.delete_queued()


class LittleSpace(ServerCase):
    """``uploads.minFreeBytes`` (R82)."""

    config = {"uploads": {"minBytes": 0, "minFreeBytes": 1 << 60}}

    async def test_the_floor_refuses_uploads_clearly(self) -> None:
        answer = await self.request("POST", UPLOAD, body=b"x" * 100)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["error"], "The media store has no space left")
        self.assertTrue(await self.is_empty())
