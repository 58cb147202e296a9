"""Parts and conditions (RFC 9110 §13, §14; D21, R68)."""

from __future__ import annotations

from tests.harness import HOST, Answer, ServerCase, png

SMALL = bytes(range(200))
LARGE = bytes(range(256)) * 1000
CHUNK = 100_000


class Ranges(ServerCase):
    config = {"downloads": {"defaultRangeChunkSizeBytes": CHUNK}}

    async def part(self, media_id: str, wanted: str, **more: str) -> Answer:
        headers = {"Range": wanted, **more}
        wire = await self.wire()
        lines = [
            f"{name.replace('_', '-')}: {value}" for name, value in headers.items()
        ]
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("GET", path, *lines))
        return await wire.answer()

    async def test_one_range_is_sent_as_asked(self) -> None:
        for data in (SMALL, LARGE):
            media_id = await self.upload(data)
            size = len(data)
            for wanted, first, last in (
                ("bytes=0-9", 0, 9),
                ("bytes=10-10", 10, 10),
                (f"bytes={size - 1}-", size - 1, size - 1),
                ("bytes=50-99999999", 50, size - 1),
                ("bytes=-7", size - 7, size - 1),
                (f"bytes=-{2**64}", 0, size - 1),
                (f"bytes=0-{2**63}", 0, size - 1),
                ("BYTES=0-9", 0, 9),
            ):
                answer = await self.part(media_id, wanted)
                self.assertEqual(answer.status, 206, wanted)
                shown = f"bytes {first}-{last}/{size}"
                self.assertEqual(answer.headers["content-range"], shown)
                self.assertEqual(answer.body, data[first : last + 1])

    async def test_an_open_range_gets_a_chunk(self) -> None:
        media_id = await self.upload(LARGE)
        answer = await self.part(media_id, "bytes=5-")
        self.assertEqual(answer.body, LARGE[5 : 5 + CHUNK])
        shown = f"bytes 5-{CHUNK + 4}/{len(LARGE)}"
        self.assertEqual(answer.headers["content-range"], shown)

    async def test_a_range_past_the_end_is_416(self) -> None:
        media_id = await self.upload(SMALL)
        for wanted in ("bytes=200-", "bytes=200-300", f"bytes={2**63}-", "bytes=-0"):
            answer = await self.part(media_id, wanted)
            self.assertEqual(answer.status, 416, wanted)
            self.assertEqual(answer.headers["content-range"], "bytes */200")

    async def test_other_ranges_are_ignored(self) -> None:
        """D21: several, malformed, other units."""
        media_id = await self.upload(SMALL)
        for wanted in (
            "bytes=0-1,5-6",
            "bytes=" + ",".join(f"{n}-{n}" for n in range(1000)),
            "bytes=9-5",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "bytes=1-2-3",
            "bytes=+1-2",
            "pages=1-2",
            "0-1",
        ):
            answer = await self.part(media_id, wanted)
            self.assertEqual((answer.status, answer.body), (200, SMALL), wanted[:20])

    async def test_if_range(self) -> None:
        media_id = await self.upload(SMALL)
        etag = (await self.download(media_id)).headers["etag"]
        fresh = await self.part(media_id, "bytes=0-1", If_Range=etag)
        self.assertEqual((fresh.status, fresh.body), (206, SMALL[:2]))
        for other in ('"other"', f"W/{etag}", "Sat, 21 Nov 2026 00:00:00 GMT"):
            answer = await self.part(media_id, "bytes=0-1", If_Range=other)
            self.assertEqual((answer.status, answer.body), (200, SMALL), other)

    async def test_head_ignores_ranges(self) -> None:
        media_id = await self.upload(SMALL)
        wire = await self.wire()
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("HEAD", path, "Range: bytes=0-1"))
        answer = await wire.answer("HEAD")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-length"], "200")

    async def test_a_client_that_has_it_gets_304(self) -> None:
        media_id = await self.upload(SMALL)
        etag = (await self.download(media_id)).headers["etag"]
        for condition in (etag, f"W/{etag}", "*", f'"other", {etag}'):
            answer = await self.download(media_id, headers={"If-None-Match": condition})
            self.assertEqual((answer.status, answer.body), (304, b""), condition)
            self.assertEqual(answer.headers["etag"], etag)
        answer = await self.download(media_id, headers={"If-None-Match": '"other"'})
        self.assertEqual((answer.status, answer.body), (200, SMALL))

    async def test_304_only_for_those_who_may_have_it(self) -> None:
        """R6: after authentication, freeze and quarantine."""
        media_id = await self.upload(SMALL)
        etag = (await self.download(media_id)).headers["etag"]
        condition = {"If-None-Match": etag}
        self.assertEqual(
            (await self.download(media_id, headers=condition, token=None)).status, 401
        )
        path = f"/_matrix/media/v3/download/{HOST}/{media_id}"
        self.assertEqual(
            (await self.get(path, headers=condition, token=None)).status, 404
        )
        await self.quarantine(media_id)
        answer = await self.download(media_id, headers=condition)
        self.assertEqual(answer.status, 404)

    async def test_thumbnails_have_ranges_and_conditions_too(self) -> None:
        media_id = await self.upload(png(200, 200))
        whole = await self.thumbnail(media_id)
        part = await self.thumbnail(media_id, headers={"Range": "bytes=0-7"})
        self.assertEqual((part.status, part.body), (206, whole.body[:8]))
        condition = {"If-None-Match": whole.headers["etag"]}
        answer = await self.thumbnail(media_id, headers=condition)
        self.assertEqual(answer.status, 304)
