"""Remote files on their way in, which are on their way out already (design §4)."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from twisted.internet.defer import Deferred

from mmr.media.transfer import HELD_BACK_BYTES

from tests.rest.remote_case import (
    Pump,
    RemoteCase,
    body_of,
    chunks_of,
    send_chunk,
    send_file,
)
from tests.stub_web import Seen, StubConnection
from tests.wire import Wire

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2
# The reader of the envelope keeps a few bytes: they might begin its end.
OUT_EARLY = HALF - HELD_BACK_BYTES - 100


class StreamingTest(RemoteCase):
    async def test_bytes_go_out_before_the_remote_has_sent_them_all(self) -> None:
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(wire, OUT_EARLY)
        self.assertIsNone(await self.remote_record())
        send_file(connection, CONTENT[HALF:])
        self.assertEqual(await body_of(wire), CONTENT)

    async def test_a_hundred_who_wait_cost_one_request(self) -> None:
        """R101."""
        held = self.hold()
        wires = [await self.fetching() for _ in range(100)]
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(wires[0], OUT_EARLY)
        send_file(connection, CONTENT[HALF:])
        for wire in wires:
            self.assertEqual(await body_of(wire), CONTENT)
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(len(self.files()), 1)

    async def test_who_comes_late_gets_all_from_the_start(self) -> None:
        held = self.hold()
        first = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(first, OUT_EARLY)
        late = await self.fetching()
        await self.has_body(late, OUT_EARLY)
        send_file(connection, CONTENT[HALF:])
        for wire in (first, late):
            self.assertEqual(await body_of(wire), CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def test_a_client_that_leaves_stops_nobody(self) -> None:
        """R66: not even when it was the first."""
        held = self.hold()
        first, second = await self.fetching(), await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(first, OUT_EARLY)
        first.abort()
        send_chunk(connection, CONTENT[HALF:-10])
        await self.has_body(second, OUT_EARLY)
        send_file(connection, CONTENT[-10:])
        self.assertEqual(await body_of(second), CONTENT)
        self.assertEqual((await self.fetch()).body, CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def test_a_range_during_the_fetch_gets_the_whole_file(self) -> None:
        """RFC 9110 §14.2: a range may be ignored; it never is a wrong one."""
        held = self.hold()
        first = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(first, 1)
        second = await self.fetching("abc", "Range: bytes=5-9")
        await self.has_body(second, 1)
        self.assertTrue(second.received.startswith(b"HTTP/1.1 200 "))
        self.assertNotIn(b"Content-Range", second.received[:2000])
        send_file(connection, CONTENT[HALF:])
        for wire in (first, second):
            self.assertEqual(await body_of(wire), CONTENT)
        answer = await self.fetch(headers={"Range": "bytes=5-9"})
        self.assertEqual((answer.status, answer.body), (206, CONTENT[5:10]))

    async def test_a_thumbnail_waits_for_the_fetch_that_runs(self) -> None:
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(wire, 1)
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        thumbnail = await self.wire()
        thumbnail.send(self.head("GET", path + "?width=9&height=9"))
        send_file(connection, CONTENT[HALF:])
        self.assertGreaterEqual((await thumbnail.answer()).status, 400)
        self.assertEqual(len(self.asked), 1)

    async def test_a_client_that_does_not_read_holds_up_nobody(self) -> None:
        """And nothing heaps up for it: it reads from the file, at its own pace."""
        held = self.hold()
        slow, quick = await self.fetching(), await self.fetching()
        assert slow.transport is not None
        slow.transport.pauseProducing()
        connection = await held
        big = CONTENT * 12
        send_file(connection, big)
        self.assertEqual(await body_of(quick), big)
        waiting = max(
            len(channel.transport.dataBuffer) + channel.transport._tempDataLen
            for channel in self.server.site.connections
        )
        self.assertLess(waiting, 256 * 1024)
        slow.transport.resumeProducing()
        self.assertEqual(await body_of(slow), big)

    async def test_the_remote_is_not_read_faster_than_the_disk_takes_it(self) -> None:
        """R16: what waits in memory is bounded."""
        held = self.hold()
        store, gate = self.store, Deferred[None]()
        create = store.create

        async def create_slow(*described: Any) -> object:
            writer = await create(*described)
            write = writer.write

            async def write_late(data: bytes) -> None:
                await gate
                await write(data)

            self.patch(writer, "write", write_late)
            return writer

        self.patch(store, "create", create_slow)
        wire = await self.fetching()
        pump = Pump(await held)
        await self.eventually(lambda: pump.is_paused_for_long)
        self.assertLess(pump.sent_bytes, 32 * 1024 * 1024)
        pump.stop()
        gate.callback(None)
        self.assertEqual(len(await body_of(wire)), pump.sent_bytes)

    async def test_http_1_0_clients_are_served_too(self) -> None:
        held = self.hold()
        wire = await self.wire()
        wire.send(self.head("GET", self.path()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        send_file(await held, CONTENT)
        received = await wire.closed()
        self.assertEqual(received.partition(b"\r\n\r\n")[2], CONTENT)

    # Helpers.

    async def has_body(self, wire: Wire, count: int) -> None:
        """Wait for so many bytes of a body that is still to come."""

        def has_come() -> bool:
            body = chunks_of(wire.received.partition(b"\r\n\r\n")[2])
            return len(body) >= count

        await self.eventually(has_come)
        self.assertFalse(wire.received.endswith(b"\r\n0\r\n\r\n"))


class QuarantineTest(RemoteCase):
    """R87: the last block waits for the hash."""

    async def quarantine_content(self, content: bytes) -> None:
        media_id = await self.upload(content)
        await self.quarantine(media_id)

    async def test_a_quarantined_file_is_never_received_whole(self) -> None:
        await self.quarantine_content(CONTENT)
        held = self.hold()
        wires = [await self.fetching() for _ in range(3)]
        send_file(await held, CONTENT)
        for wire in wires:
            received = await wire.closed()
            body = chunks_of(received.partition(b"\r\n\r\n")[2])
            self.assertLessEqual(len(body), len(CONTENT) - HELD_BACK_BYTES)
            self.assertFalse(received.endswith(b"\r\n0\r\n\r\n"))
        self.assertIsNone(await self.remote_record())
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertEqual(len(self.files()), 1)

    async def test_of_a_small_one_no_byte_is_given_out(self) -> None:
        await self.quarantine_content(b"bad")
        self.reply_file(b"bad")
        for _ in range(2):
            answer = await self.fetch()
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")
        self.assertEqual(len(self.asked), 1)
        self.assertIsNone(await self.remote_record())

    async def test_its_thumbnail_is_not_made(self) -> None:
        await self.quarantine_content(CONTENT)
        self.reply_file(CONTENT)
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        answer = await self.get(path + "?width=9&height=9")
        self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))

    async def test_a_kept_remote_file_can_be_quarantined(self) -> None:
        self.reply_file(CONTENT)
        await self.fetch()
        changed = await self.server.db.interaction(
            "quarantine",
            self.server.stores.media.set_quarantined_by_hash_txn,
            hashlib.sha256(CONTENT).hexdigest(),
            True,
        )
        for mxc in changed:
            self.server.media_records.invalidate(mxc)
        self.assertNotEqual((await self.fetch()).body, CONTENT)


class InterruptionTest(RemoteCase):
    """Clients notice that a file isn't whole, and nothing of it stays."""

    config: ClassVar[dict[str, Any]] = {"downloads": {"maxBytes": 2 * len(CONTENT)}}

    async def broken_off(self, wire: Wire) -> bytes:
        """The body that came before the connection was closed out of order."""
        received = await wire.closed()
        head, _, rest = received.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "))
        self.assertFalse(rest.endswith(b"\r\n0\r\n\r\n"))
        return rest

    async def test_the_remote_hangs_up(self) -> None:
        for number, has_length in enumerate((False, True)):
            held = self.hold_old() if has_length else self.hold()
            wires = [await self.fetching(f"id{number}") for _ in range(3)]
            connection = await held
            if has_length:
                connection.send(CONTENT[:HALF])
            else:
                send_chunk(connection, CONTENT[:HALF])
            for wire in wires:
                await self.eventually(lambda wire=wire: len(wire.received) > 1000)
            with self.assertLogs("mmr.media.remote", "WARNING") as logged:
                connection.reset()
                for wire in wires:
                    body = await self.broken_off(wire)
                    self.assertLess(len(body), len(CONTENT))
            self.assertEqual(len(logged.output), 1)
            self.assertIn("at step 'body'", logged.output[0])
            await self.eventually(self.is_empty)

    async def test_the_envelope_has_no_end(self) -> None:
        """R59: else a cut at the final boundary would go unnoticed."""
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT)
        with self.assertLogs("mmr.media.remote", "WARNING") as logged:
            send_chunk(connection, b"")
            await self.broken_off(wire)
        self.assertIn("at step 'multipart'", logged.output[0])
        await self.eventually(self.is_empty)

    async def test_more_than_max_bytes_without_a_length(self) -> None:
        """R16: an endless body ends at the limit."""
        held = self.hold()
        wire = await self.fetching()
        with self.assertLogs("mmr.media.remote", "WARNING") as logged:
            connection = await held
            pump = Pump(connection)
            await self.broken_off(wire)
            await connection.lost
        self.assertLess(pump.sent_bytes, 32 * 1024 * 1024)
        self.assertIn("downloads.maxBytes", logged.output[0])
        await self.eventually(self.is_empty)
        answer = await self.fetch()
        self.assertEqual((answer.status, answer.json["errcode"]), (502, "M_TOO_LARGE"))
        self.assertEqual(len(self.asked), 1)

    async def test_our_disk_fails(self) -> None:
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.eventually(lambda: len(wire.received) > 1000)

        async def fail(*_: object) -> None:
            raise OSError("disk")

        self.patch(self.server.committer, "commit", fail)
        with self.assertLogs("mmr.media.remote", "ERROR"):
            send_file(connection, CONTENT[HALF:])
            await self.broken_off(wire)
        await self.eventually(self.is_empty)

    async def test_stopping_gives_up_what_is_being_fetched(self) -> None:
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.eventually(lambda: len(wire.received) > 1000)
        wire.abort()
        await self.eventually(lambda: not self.server.site.connections)
        await self.stop_server()
        self.assertEqual(self.server.remote_media.running, 0)
        self.assertEqual(self.files(), [])

    def hold_old(self) -> Deferred[StubConnection]:
        """A server that has the old route alone, and announces the length."""
        held: Deferred[StubConnection] = Deferred()

        def media(connection: StubConnection, seen: Seen) -> None:
            if not seen.target.startswith("/_matrix/media/v3/"):
                connection.reply(404, b"")
                return
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
            connection.send(head)
            held.callback(connection)

        self.media = media
        return held
