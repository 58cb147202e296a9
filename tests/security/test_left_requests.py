"""Clients that leave, at each stage of each kind of request (R66)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mmr.metrics import REGISTRY

from tests.harness import HOST, png
from tests.rest.preview_case import PAGE, PREVIEW, PreviewCase, page, picture
from tests.stub_web import raw_reply, silence
from tests.wire import Wire

UPLOAD = "/_matrix/media/v3/upload"
LARGE = 600_000  # more than the writer's memory
_PATHS = {
    "thumbnail": "/_matrix/client/v1/media/thumbnail/{}",
    "info": "/_matrix/media/unstable/info/{}",
}
_TABLES = (
    "media",
    "thumbnails",
    "expiring_media",
    "url_previews",
    "mmr_object_intents",
    "mmr_quota_reservations",
)


class LeftRequests(PreviewCase):
    """What was there before is there after, and nothing else."""

    config = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "quotas": {"enabled": True, "users": [{"glob": "@*", "maxFiles": 100}]},
        }
    }

    async def traces(self) -> dict[str, object]:
        """Files, rows, descriptors, connections, and what the gauges say."""
        return {
            "files": sorted(map(str, self.files())),
            "rows": [await self.count(table) for table in _TABLES],
            "open": self.open_files(),
            "connections": len(self.server.site.connections),
            "pools": {
                (sample.name, sample.labels["pool"]): sample.value
                for family in REGISTRY.collect()
                if family.name.startswith("media_pool_")
                for sample in family.samples
            },
        }

    def open_files(self) -> int:
        """Descriptors of this process within the media folder."""
        links = []
        for number in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{number}"))
            except FileNotFoundError:
                continue
        return sum(link.startswith(str(self.media_folder)) for link in links)

    async def leaves(
        self, data: bytes, begun: Callable[[Wire], Any] | None = None
    ) -> None:
        """Send that, wait until it has begun, hang up; nothing may stay."""
        before = await self.traces()
        wire = await self.wire()
        wire.send(data)
        await self.eventually(lambda: len(self.server.site.connections) == 1)
        if begun is not None:
            await self.eventually(lambda: begun(wire))
        wire.abort()

        async def as_before() -> bool:
            self.now = await self.traces()
            return self.now == before

        try:
            await self.eventually(as_before)
        except AssertionError:
            self.assertEqual(self.now, before)

    async def test_in_the_middle_of_a_head(self) -> None:
        await self.leaves(self.head()[:-3])

    async def test_before_anybody_said_who_it_is(self) -> None:
        self.homeserver.hanging = True
        head = self.head("POST", UPLOAD, "Content-Length: 9")
        await self.leaves(head, lambda _: bool(self.homeserver.requests))
        await self.homeserver.stop()

    async def test_before_the_body(self) -> None:
        for line in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
            await self.leaves(self.head("POST", UPLOAD, line))

    async def test_within_the_body_of_an_upload(self) -> None:
        for line in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
            head = self.head("POST", UPLOAD, line)
            body = b"f4240\r\n" if "chunked" in line else b""
            body += b"x" * LARGE
            await self.leaves(head + body, lambda _: bool(self.files()))

    async def test_within_the_body_of_a_reserved_upload(self) -> None:
        media_id = await self.create()
        path = f"{UPLOAD}/{HOST}/{media_id}"
        head = self.head("PUT", path, "Content-Length: 1000000")
        await self.leaves(head + b"x" * LARGE, lambda _: bool(self.files()))
        self.assertEqual((await self.put(media_id, b"data")).status, 200)

    async def test_after_the_body_and_before_the_answer(self) -> None:
        """It is stored whole or not at all."""
        for size in (100, LARGE):
            wire = await self.wire()
            head = self.head("POST", UPLOAD, f"Content-Length: {size}")
            wire.send(head + os.urandom(size))
            await self.eventually(lambda: bool(self.server.site.connections))
            wire.abort()
            await self.eventually(lambda: not self.server.site.connections)

            async def is_settled() -> bool:
                rows = [await self.count(table) for table in _TABLES]
                return rows[-2:] == [0, 0] and len(self.files()) == rows[0]

            await self.eventually(is_settled)

    async def test_while_it_waits_for_media_that_is_to_come(self) -> None:
        media_id = await self.create()
        for kind in ("download", "thumbnail"):
            path = f"/_matrix/client/v1/media/{kind}/{HOST}/{media_id}"
            await self.leaves(self.head("GET", f"{path}?width=9&height=9"))

    async def test_within_a_large_download(self) -> None:
        media_id = await self.upload(os.urandom(20_000_000))
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"

        def has_begun(wire: Wire) -> bool:
            assert wire.transport is not None
            wire.transport.pauseProducing()
            return self.open_files() == 1

        await self.leaves(self.head("GET", path), has_begun)
        await self.leaves(self.head("GET", path, "Range: bytes=9-"), has_begun)

    async def test_while_its_thumbnail_is_drawn(self) -> None:
        """The drawing is given up, whether it would have ended in time or not."""
        media_id = await self.upload(png(2000, 2000))
        pool = self.server.thumbnail_pool
        for action in ("thumbnail", "info"):
            jobs = pool.jobs_started
            path = _PATHS[action].format(f"{HOST}/{media_id}")
            head = self.head("GET", f"{path}?width=32&height=32&method=crop")
            await self.leaves(head, lambda _, n=jobs: pool.jobs_started > n)

    async def test_while_its_thumbnail_waits_for_a_worker(self) -> None:
        media_id = await self.upload(png(300, 300))
        pool = self.server.thumbnail_pool
        idle, pool._idle = pool._idle, []
        path = _PATHS["thumbnail"].format(f"{HOST}/{media_id}")
        head = self.head("GET", f"{path}?width=32&height=32")
        await self.leaves(head, lambda _: pool.waiting == 1)
        self.assertEqual(pool.waiting, 0)
        pool._idle = idle
        self.assertEqual((await self.thumbnail(media_id)).status, 200)

    async def test_a_drawing_that_another_waits_for_goes_on(self) -> None:
        media_id = await self.upload(png(2000, 2000))
        path = _PATHS["thumbnail"].format(f"{HOST}/{media_id}")
        head = self.head("GET", f"{path}?width=32&height=32&method=crop")
        wires = [await self.wire() for _ in range(3)]
        for wire in wires:
            wire.send(head)
        pool = self.server.thumbnail_pool
        await self.eventually(lambda: pool.jobs_started > 0)
        wires[0].abort()
        wires[2].abort()
        self.assertEqual((await wires[1].answer()).status, 200)
        self.assertEqual(pool.jobs_started, 1)

    async def test_while_a_page_is_fetched(self) -> None:
        self.paths["/"] = silence
        await self.preview_is_left("/")

    async def test_within_a_page(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
        self.paths["/"] = raw_reply(head + b"<html>")
        await self.preview_is_left("/")

    async def test_while_the_picture_of_a_page_is_fetched(self) -> None:
        self.paths["/"] = page(PAGE)
        self.paths["/sea.png"] = silence
        await self.preview_is_left("/sea.png")

    async def preview_is_left(self, where: str) -> None:
        """Leave when the site is asked for that; nothing is held against the site."""
        path = f"{PREVIEW}?url={self.url()}"
        await self.leaves(self.head("GET", path), lambda _: self.asked(where) == 1)
        await self.eventually(lambda: not self.site.connections)
        self.paths = {"/": page(PAGE), "/sea.png": picture()}
        self.assertEqual((await self.shown(self.url()))["og:image:width"], 64)
