"""Remote files that there is no room for: they go through without being kept (R82)."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from mmr.media import passing
from mmr.media.transfer import HELD_BACK_BYTES
from mmr.media.window import WINDOW_BYTES
from mmr.metrics import REGISTRY

from tests.rest.remote_case import (
    Pump,
    RemoteCase,
    body_of,
    chunks_of,
    closing,
    send_chunk,
    send_file,
)
from tests.small_disk import mount_small_disk

CONTENT = os.urandom(1_000_000)
HALF = len(CONTENT) // 2


class PassingCase(RemoteCase):
    """Has a datastore whose disk can be filled."""

    def fill(self) -> None:
        """Leave no room at all, as far as the system says."""
        self.patch(self.store.fs, "free_bytes", lambda _: 0)
        self.store.space._asked_at = None

    async def wait_for_clients(self, count: int) -> None:
        """Until so many wait for the first byte of what is being fetched."""
        transfers = self.server.remote_media._transfers

        def have_come() -> bool:
            return sum(len(each._waiting) for each in transfers.values()) == count

        await self.eventually(have_come)

    def passed(self) -> float:
        return REGISTRY.get_sample_value("media_passed_through_total") or 0.0

    async def is_untouched(self) -> bool:
        return self.server.remote_media.running == 0 and await self.is_empty()


class FullTest(PassingCase):
    config: ClassVar[dict[str, Any]] = {"uploads": {"minFreeBytes": 1, "minBytes": 0}}

    async def test_files_of_all_sizes_come_whole_and_none_is_kept(self) -> None:
        self.fill()
        before = self.passed()
        sizes = (0, 10, HELD_BACK_BYTES, HELD_BACK_BYTES + 1, WINDOW_BYTES, 5_000_000)
        for number, size in enumerate(sizes):
            content = os.urandom(size)
            self.reply_file(content)
            for _ in range(2):
                answer = await self.fetch(f"id{number}")
                self.assertEqual((answer.status, answer.body), (200, content))
                self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertEqual(self.passed() - before, 2 * len(sizes))
        self.assertTrue(await self.is_untouched())

    async def test_the_log_says_once_that_the_disk_is_full(self) -> None:
        self.fill()
        self.reply_file(CONTENT)
        with self.assertLogs("mmr", "WARNING") as logged:
            for number in range(5):
                await self.fetch(f"id{number}")
        self.assertEqual(len(logged.output), 1)
        self.assertIn("uploads.minFreeBytes", logged.output[0])

    async def test_uploads_are_refused_clearly(self) -> None:
        self.fill()
        answer = await self.request("POST", "/_matrix/media/v3/upload", body=b"data")
        self.assertEqual(answer.status, 503)
        self.assertIn("no space", answer.json["error"])

    async def test_thumbnails_of_it_are_not_made(self) -> None:
        self.fill()
        self.reply_file(CONTENT)
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        answer = await self.get(path + "?width=9&height=9")
        self.assertEqual(answer.status, 503)
        await self.eventually(self.is_untouched)

    async def test_who_asks_at_once_shares_one_fetch(self) -> None:
        self.fill()
        held = self.hold()
        wires = [await self.fetching() for _ in range(5)]
        await self.wait_for_clients(5)
        send_file(await held, CONTENT)
        for wire in wires:
            self.assertEqual(await body_of(wire), CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def test_who_comes_when_the_start_is_gone_has_a_fetch_of_his_own(
        self,
    ) -> None:
        self.fill()
        held = self.hold()
        first = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.eventually(lambda: len(first.received) > HALF // 2)
        self.reply_file(CONTENT)
        self.assertEqual((await self.fetch()).body, CONTENT)
        send_file(connection, CONTENT[HALF:])
        self.assertEqual(await body_of(first), CONTENT)
        self.assertEqual(len(self.asked), 2)
        self.assertTrue(await self.is_untouched())

    async def test_memory_is_bounded_by_the_slowest_client(self) -> None:
        """R16, R82: the remote server is read no faster than clients read."""
        self.fill()
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        assert wire.transport is not None
        wire.transport.pauseProducing()
        pump = Pump(connection)
        await self.eventually(lambda: pump.is_paused_for_long)
        self.assertLess(pump.sent_bytes, 32 * 1024 * 1024)
        pump.stop()
        wire.transport.resumeProducing()
        self.assertEqual(len(await body_of(wire)), pump.sent_bytes)

    async def test_a_client_that_stops_reading_holds_the_others_up_only_so_long(
        self,
    ) -> None:
        self.patch(passing, "_STALL_SECONDS", 0.1)
        self.fill()
        held = self.hold()
        slow, quick = await self.fetching(), await self.fetching()
        assert slow.transport is not None
        slow.transport.pauseProducing()
        await self.wait_for_clients(2)
        # More than the sockets between us take.
        content = bytes(30_000_000)
        send_file(await held, content)
        self.assertEqual(len(await body_of(quick)), len(content))
        slow.transport.resumeProducing()
        received = await slow.closed()
        self.assertFalse(received.endswith(b"\r\n0\r\n\r\n"))

    async def test_when_nobody_waits_any_more_the_fetch_ends(self) -> None:
        self.fill()
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        pump = Pump(connection)
        await self.eventually(lambda: len(wire.received) > 1000)
        wire.abort()
        await connection.lost
        pump.stop()
        await self.eventually(self.is_untouched)

    async def test_a_quarantined_file_is_never_received_whole(self) -> None:
        """R87: the last block is held back here too."""
        for content in (CONTENT, b"bad"):
            media_id = await self.upload(content)
            await self.quarantine(media_id)
        self.fill()
        held = self.hold()
        wire = await self.fetching()
        send_file(await held, CONTENT)
        received = await wire.closed()
        body = chunks_of(received.partition(b"\r\n\r\n")[2])
        self.assertLessEqual(len(body), len(CONTENT) - HELD_BACK_BYTES)
        self.assertFalse(received.endswith(b"\r\n0\r\n\r\n"))
        self.reply_file(b"bad")
        self.assertEqual((await self.fetch("small")).status, 404)

    async def test_a_remote_that_hangs_up_is_noticed(self) -> None:
        self.fill()
        held = self.hold()
        wire = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.eventually(lambda: len(wire.received) > 1000)
        connection.reset()
        received = await wire.closed()
        self.assertFalse(received.endswith(b"\r\n0\r\n\r\n"))
        await self.eventually(self.is_untouched)

    async def test_with_room_again_it_is_kept_again(self) -> None:
        self.fill()
        self.reply_file(CONTENT)
        await self.fetch()
        self.patch(self.store.fs, "free_bytes", lambda _: 1 << 40)
        self.store.space._asked_at = None
        self.assertEqual((await self.fetch()).body, CONTENT)
        self.assertIsNotNone(await self.remote_record())


class SuddenlyFullTest(PassingCase):
    """The disk is found to be full when a part of the file is on it already."""

    def break_call(self, call: str, after: int = 0) -> Any:
        """Let a system call fail, from the so-manieth time on."""
        real = getattr(self.store.fs, call)
        count = 0

        def fail(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments)

        return self.patch(self.store.fs, call, fail)

    async def test_clients_get_the_file_whole_all_the_same(self) -> None:
        for number, (call, after) in enumerate(
            [("write", 0), ("write", 1), ("write", 3), ("fsync", 0), ("rename", 0)]
        ):
            held = self.hold()
            with self.subTest(call=call, after=after):
                wires = [await self.fetching(f"id{number}") for _ in range(3)]
                connection = await held
                await self.wait_for_clients(3)
                broken = self.break_call(call, after)
                for start in range(0, len(CONTENT), 200_000):
                    send_chunk(connection, CONTENT[start : start + 200_000])
                send_chunk(connection, closing())
                send_chunk(connection, b"")
                for wire in wires:
                    self.assertEqual(await body_of(wire), CONTENT)
                await self.eventually(self.is_untouched)
                broken.restore()

    async def test_a_small_file_that_fails_at_the_very_end(self) -> None:
        self.reply_file(b"small")
        self.break_call("create")
        self.assertEqual((await self.fetch()).body, b"small")
        await self.eventually(self.is_untouched)


class HookTest(PassingCase):
    """R86: hooks must have looked at a file, unless they may be skipped."""

    policy = "refuse"

    def change_config(self, settings: dict[str, Any]) -> None:
        settings["uploads"]["minFreeBytes"] = 1
        settings["plugins"] = [
            {
                "module": "clamav",
                "config": {"address": "127.0.0.1:9"},
                "onFailure": self.policy,
            }
        ]

    async def test_without_a_look_it_is_refused(self) -> None:
        self.fill()
        self.reply_file(CONTENT)
        self.assertEqual((await self.fetch()).status, 503)


class LenientHookTest(HookTest):
    policy = "pass"

    async def test_without_a_look_it_is_refused(self) -> None:
        """Or not, as configured."""
        self.fill()
        self.reply_file(CONTENT)
        self.assertEqual((await self.fetch()).body, CONTENT)


class CapTest(PassingCase):
    def change_config(self, settings: dict[str, Any]) -> None:
        settings["datastores"][0]["remoteMediaCapBytes"] = len(CONTENT)

    async def test_above_the_cap_remote_files_go_through_and_uploads_are_taken(
        self,
    ) -> None:
        await self.upload(CONTENT)
        self.reply_file(CONTENT[::-1])
        with self.assertNoLogs("mmr", "WARNING"):
            self.assertEqual((await self.fetch()).body, CONTENT[::-1])
        self.assertIsNone(await self.remote_record())
        await self.upload(b"more")


class SmallDiskTest(RemoteCase):
    """A real file system of 12 MB with the database and the media on it."""

    def make_folder(self) -> Path:
        folder = super().make_folder()
        mount_small_disk(self, folder, megabytes=12)
        return folder

    def change_config(self, settings: dict[str, Any]) -> None:
        settings["uploads"].update({"minFreeBytes": 4_000_000, "maxPending": 100})

    async def test_remote_reads_go_on_and_the_database_stays_writable(self) -> None:
        """R82: CVE-2024-36403, CVE-2024-37302."""
        for number in range(20):
            content = os.urandom(1_500_000)
            self.reply_file(content)
            answer = await self.fetch(f"id{number}")
            self.assertEqual((answer.status, answer.body), (200, content))
            await self.create()
        self.assertGreater(shutil.disk_usage(self.folder).free, 3_000_000)
        self.assertGreater(len(self.files()), 1)
        refused = await self.request(
            "POST", "/_matrix/media/v3/upload", body=bytes(1_500_000)
        )
        self.assertEqual(refused.status, 503)
        # What is kept is still read.
        self.assertEqual((await self.fetch("id0")).status, 200)
