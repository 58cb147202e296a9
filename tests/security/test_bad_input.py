"""Bad input, line by line (issue 2): the right error, and nothing is left behind.

The rooms' own tests have the fine points of each; here is what they have in common.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from twisted.internet.defer import Deferred, gatherResults

from mmr.datastores.filesystem import FileSystem

from tests.datastores.fakes import FaultyFileSystem
from tests.harness import HOST, Answer, ServerCase, jpeg, png
from tests.homeserver import error_reply
from tests.rest.test_thumbnail_refusals import huge_png

UPLOAD = "/_matrix/media/v3/upload"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"
MAX = 700_000
LARGE = 600_000  # more than the writer's memory
BOB_BYTES = 1000

Expected = tuple[int, str]
NO_TOKEN = (401, "M_MISSING_TOKEN")
BAD_TOKEN = (401, "M_UNKNOWN_TOKEN")
TOO_LARGE = (413, "M_TOO_LARGE")
BAD_PARAMETER = (400, "M_INVALID_PARAM")


@attrs.frozen
class Ask:
    """One request, and what comes of it."""

    method: str
    path: str
    expected: Expected
    body: bytes | None = None
    more: dict[str, Any] = attrs.Factory(dict)


class BadInput(ServerCase):
    __test__: ClassVar[bool] = False
    config: ClassVar[dict[str, Any]] = {
        "uploads": {
            "minBytes": 10,
            "maxBytes": MAX,
            "minFreeBytes": 0,
            "quotas": {
                "enabled": True,
                "users": [{"glob": "@bob:*", "maxBytes": BOB_BYTES}],
            },
        },
        "thumbnails": {"maxPixels": 1_000_000, "maxSourceBytes": 200_000},
    }

    async def setUp(self) -> None:
        await super().setUp()
        self.media_id = await self.upload(png(300, 300))
        self.reserved = await self.create()

    async def state(self) -> dict[str, object]:
        """Every file, the rows of every table, and what is open or in use."""
        if self.engine == "postgres":
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        else:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [row[0] for row in await self.server.db.fetch_all("tables", query)]
        return {
            "files": sorted(map(str, self.files())),
            "rows": {table: await self.count(table) for table in sorted(tables)},
            "open": sum(map(self.is_open_in_media, os.listdir("/proc/self/fd"))),
            "renders": (
                self.server.thumbnail_pool.waiting,
                self.server.thumbnail_pool.running,
            ),
            "pools": (self.server.files.pending, self.server.db.waiting),
        }

    def is_open_in_media(self, descriptor: str) -> bool:
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            return False
        return target.startswith(str(self.media_folder))

    async def check_unchanged(self, before: dict[str, object], what: object) -> None:
        async def is_unchanged() -> bool:
            self.now = await self.state()
            return self.now == before

        try:
            await self.eventually(is_unchanged, seconds=5)
        except AssertionError:
            self.assertEqual(self.now, before, what)

    def check(self, answer: Answer, expected: Expected, what: object) -> None:
        found = (answer.status, answer.json["errcode"])
        self.assertEqual(found, expected, (what, answer))

    async def check_each(self, asks: Iterator[Ask]) -> None:
        before = await self.state()
        for ask in asks:
            answer = await self.request(ask.method, ask.path, body=ask.body, **ask.more)
            self.check(answer, ask.expected, ask)
            await self.check_unchanged(before, ask)

    def everything(self) -> Iterator[tuple[str, str, bytes | None]]:
        """One request of each kind that needs to know who asks."""
        media = f"{HOST}/{self.media_id}"
        yield "POST", UPLOAD, bytes(LARGE)
        yield "POST", "/_matrix/media/v1/create", None
        yield "PUT", f"{UPLOAD}/{HOST}/{self.reserved}", bytes(LARGE)
        yield "GET", f"{DOWNLOAD}/{media}", None
        yield "GET", f"{THUMBNAIL}/{media}?width=99&height=99", None
        yield "GET", "/_matrix/client/v1/media/config", None
        yield "GET", f"/_matrix/media/unstable/info/{media}", None
        yield "DELETE", f"/_matrix/media/unstable/download/{media}", None

    async def test_no_token_and_bad_tokens(self) -> None:
        await self.check_each(
            Ask(method, path, expected, body, {"token": token})
            for method, path, body in self.everything()
            for token, expected in ((None, NO_TOKEN), ("nobody", BAD_TOKEN))
        )

    async def test_the_homeserver_fails_or_is_down(self) -> None:
        """Never 401: clients would log out."""
        await self.stop_server()
        await self.start_server()
        self.homeserver.override = error_reply(500, "M_UNKNOWN")
        before = await self.state()
        for is_down in (False, True):
            if is_down:
                await self.homeserver.stop()
            for method, path, body in self.everything():
                answer = await self.request(method, path, body=body)
                self.assertIn(answer.status, (502, 503), (path, answer))
                self.assertEqual(answer.json["errcode"], "M_UNKNOWN")
                await self.check_unchanged(before, path)

    async def test_bodies_that_are_too_small_or_too_large(self) -> None:
        before = await self.state()
        too_small = (400, "M_UNKNOWN")
        for path in (f"POST {UPLOAD}", f"PUT {UPLOAD}/{HOST}/{self.reserved}"):
            for size, expected in (
                (0, too_small),
                (9, too_small),
                (MAX + 1, TOO_LARGE),
                (10 * MAX, TOO_LARGE),
            ):
                for answer in (
                    await self.send(path, size),
                    await self.send_chunked(path, size),
                ):
                    self.check(answer, expected, (path, size))
                    await self.check_unchanged(before, (path, size))

    async def send(self, line: str, size: int) -> Answer:
        method, _, path = line.partition(" ")
        return await self.request(method, path, body=bytes(size))

    async def send_chunked(self, line: str, size: int) -> Answer:
        method, _, path = line.partition(" ")
        wire = await self.wire()
        wire.send(self.head(method, path, "Transfer-Encoding: chunked"))
        for start in range(0, min(size, 2 * MAX), 100_000):
            wire.send_chunk(bytes(min(100_000, size - start)))
        wire.send_chunk(b"")
        answer = await wire.answer()
        wire.abort()
        return answer

    async def test_uploads_that_are_broken_off(self) -> None:
        before = await self.state()
        for line in (f"POST {UPLOAD}", f"PUT {UPLOAD}/{HOST}/{self.reserved}"):
            method, _, path = line.partition(" ")
            for header, body in (
                (f"Content-Length: {MAX}", bytes(LARGE)),
                (f"Content-Length: {MAX}", b"x"),
                ("Transfer-Encoding: chunked", b"92000\r\n" + bytes(LARGE // 2)),
            ):
                wire = await self.wire()
                wire.send(self.head(method, path, header) + body)
                await self.eventually(lambda: bool(self.server.site.connections))
                wire.abort()
                await self.eventually(lambda: not self.server.site.connections)
                await self.check_unchanged(before, (line, header))
            wire = await self.wire()
            wire.send(self.head(method, path, "Transfer-Encoding: chunked"))
            wire.send_chunk(bytes(LARGE))
            wire.send(b"no length\r\n")
            self.assertEqual((await wire.answer()).status, 400)
            wire.abort()
            await self.check_unchanged(before, (line, "a bad chunk"))

    async def test_unknown_hosts(self) -> None:
        await self.check_each(
            Ask(method, path, (502, "M_UNKNOWN"), body, {"host": host})
            for method, path, body in self.everything()
            for host in ("unknown.example", f"x.{HOST}", "127.0.0.1")
        )

    async def test_bad_media_ids_and_server_names(self) -> None:
        before = await self.state()
        for name in (
            f"{HOST}/a%2fb",
            f"{HOST}/%2e%2e",
            f"{HOST}/a%00",
            f"{HOST}/a%0A",
            f"{HOST}/{'x' * 256}",
            f"{HOST}/unknown",
            f"a_b/{self.media_id}",
            f"1.2.3.999/{self.media_id}",
            f"{HOST}%0A/{self.media_id}",
            f"{HOST}:99999/{self.media_id}",
            f"%5B::1/{self.media_id}",
        ):
            for method, path in (
                ("GET", f"{DOWNLOAD}/{name}"),
                ("HEAD", f"{DOWNLOAD}/{name}"),
                ("GET", f"{THUMBNAIL}/{name}?width=9&height=9"),
                ("GET", f"/_matrix/media/unstable/info/{name}"),
                ("PUT", f"{UPLOAD}/{name}"),
            ):
                body = bytes(LARGE) if method == "PUT" else None
                answer = await self.request(method, path, body=body)
                self.assertIn(answer.status, (400, 403, 404), (path, answer))
                await self.check_unchanged(before, path)

    async def test_bad_ranges(self) -> None:
        """Those that can't be had are 416; those that can't be read are ignored."""
        size = len(png(300, 300))
        path = f"{DOWNLOAD}/{HOST}/{self.media_id}"
        await self.download(self.media_id)
        before = await self.state()
        for wanted, status in (
            (f"bytes={size}-", 416),
            (f"bytes={2**63}-", 416),
            ("bytes=-0", 416),
            ("bytes=9-5", 200),
            ("bytes=0-1,5-6", 200),
            ("bytes=a-b", 200),
            ("lines=1-2", 200),
        ):
            answer = await self.get(path, headers={"Range": wanted})
            self.assertEqual(answer.status, status, wanted)
            if status == 416:
                self.assertEqual(answer.headers["content-range"], f"bytes */{size}")
                self.assertEqual(answer.json["errcode"], "M_UNKNOWN")
            await self.check_unchanged(before, wanted)

    async def test_bad_methods_and_sizes_of_thumbnails(self) -> None:
        path = f"{THUMBNAIL}/{HOST}/{self.media_id}?"
        await self.check_each(
            Ask("GET", path + query, (400, errcode))
            for query, errcode in (
                ("", "M_MISSING_PARAM"),
                ("width=96", "M_MISSING_PARAM"),
                ("width=0&height=96", "M_UNKNOWN"),
                ("width=-1&height=96", "M_UNKNOWN"),
                ("width=a&height=96", "M_INVALID_PARAM"),
                (f"width={'9' * 30}&height=96", "M_INVALID_PARAM"),
                ("width=96&height=96&method=squash", "M_INVALID_PARAM"),
                ("width=96&height=96&animated=perhaps", "M_INVALID_PARAM"),
            )
        )
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)

    async def test_pictures_that_cannot_be_drawn(self) -> None:
        """Truncated, huge, mislabelled: the upload is taken, the thumbnail is none."""
        whole = png(200, 200, "blue")
        for data, expected in (
            (whole[: len(whole) // 2], (400, "M_UNKNOWN")),
            (jpeg(300, 200)[:-200], (400, "M_UNKNOWN")),
            (huge_png(30_000, 30_000), TOO_LARGE),
            (b"\0" * 200_001, TOO_LARGE),
            (b"%PDF-1.4 and so on", (400, "M_UNKNOWN")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (400, "M_UNKNOWN")),
            (b"#!/bin/sh\necho no picture", (400, "M_UNKNOWN")),
        ):
            media_id = await self.upload(data, "image/png")
            before = await self.state()
            for width in (96, 320, 96):
                answer = await self.thumbnail(
                    media_id, f"width={width}&height=96&method=crop"
                )
                self.check(answer, expected, data[:30])
                await self.check_unchanged(before, data[:30])
            self.assertEqual((await self.download(media_id)).body, data)

    async def test_a_quota_that_two_uploads_at_once_just_pass(self) -> None:
        bodies = [bytes([n]) * (BOB_BYTES // 2 + 1) for n in range(2)]
        calls = [
            self.request("POST", UPLOAD, body=b, token="bob-token") for b in bodies
        ]
        answers = await gatherResults([Deferred.fromCoroutine(each) for each in calls])
        self.assertEqual(sorted(answer.status for answer in answers), [200, 403])
        before = await self.state()
        for body in (bytes(BOB_BYTES), b"y" * (BOB_BYTES // 2)):
            answer = await self.request("POST", UPLOAD, body=body, token="bob-token")
            self.check(answer, (403, "M_FORBIDDEN"), "quota")
            await self.check_unchanged(before, "quota")

    async def test_a_full_disk(self) -> None:
        before = await self.state()
        for call in ("create", "write", "fsync", "rename"):
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE):
                for method, path in (
                    ("POST", UPLOAD),
                    ("PUT", f"{UPLOAD}/{HOST}/{self.reserved}"),
                    ("GET", f"{THUMBNAIL}/{HOST}/{self.media_id}?width=9&height=9"),
                ):
                    self.store.fs = FaultyFileSystem(call, number)
                    body = None if method == "GET" else os.urandom(LARGE)
                    answer = await self.request(method, path, body=body)
                    is_full = number in (errno.ENOSPC, errno.EDQUOT)
                    what = (call, number, path)
                    self.check(answer, (503 if is_full else 500, "M_UNKNOWN"), what)
                    self.store.fs = FileSystem()
                    await self.server.sweep.delete_queued()
                    await self.check_unchanged(before, what)
        self.assertEqual((await self.put(self.reserved, bytes(LARGE))).status, 200)


class BadInputOnSqlite(BadInput):
    __test__ = True


class BadInputOnPostgres(BadInput):
    __test__ = True
    engine = "postgres"
