"""Downloads: paths, headers, names (mmr-http-api.md §5)."""

from __future__ import annotations

import contextlib
import os

from tests.harness import HOST, ServerCase, jpeg, png

PREFIXES = (
    "/_matrix/media/r0",
    "/_matrix/media/v1",
    "/_matrix/media/v3",
    "/_matrix/client/v1/media",
)
LARGE = bytes(range(256)) * 2000  # sent from its file


class Downloads(ServerCase):
    async def test_every_path_serves_the_bytes(self) -> None:
        media_id = await self.upload(b"hello", "text/plain", "a.txt")
        for prefix in PREFIXES:
            for name in ("", "/other.txt"):
                path = f"{prefix}/download/{HOST}/{media_id}{name}"
                answer = await self.get(path)
                self.assertEqual((answer.status, answer.body), (200, b"hello"))
                shown = name.strip("/") or "a.txt"
                self.assertEqual(
                    answer.headers["content-disposition"], f"inline; filename={shown}"
                )

    async def test_a_large_file_comes_whole(self) -> None:
        media_id = await self.upload(LARGE)
        for _ in range(2):
            self.assertEqual((await self.download(media_id)).body, LARGE)

    async def test_an_image_comes_unchanged(self) -> None:
        for data, content_type in ((png(), "image/png"), (jpeg(9, 9), "image/jpeg")):
            answer = await self.download(await self.upload(data, content_type))
            self.assertEqual(answer.body, data)
            self.assertEqual(answer.headers["content-type"], content_type)

    async def test_the_headers_of_a_download(self) -> None:
        """Spec §4.2, R1, R6."""
        media_id = await self.upload(b"hello", "text/plain; charset=utf-8", "a.txt")
        record = await self.record(media_id)
        wire = await self.wire()
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("GET", path))
        headers = (await wire.answer()).headers
        expected = {
            "content-type": "text/plain; charset=utf-8",
            "content-length": "5",
            "accept-ranges": "bytes",
            "cache-control": "private, max-age=259200",
            "etag": f'"{record.sha256_hash}"',
            "access-control-allow-origin": "*",
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
            "x-content-security-policy": "sandbox;",
            "x-robots-tag": "noindex, nofollow, noarchive, noimageindex",
        }
        for name, value in expected.items():
            self.assertEqual(headers.get(name), value, name)
        self.assertIn(
            "sandbox; default-src 'none';", headers["content-security-policy"]
        )

    async def test_head_is_get_without_the_body(self) -> None:
        """D8, R68."""
        for data in (b"hello", LARGE, b""):
            media_id = await self.upload(data, "image/png", "a.png")
            path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
            wire = await self.wire()
            wire.send(self.head("GET", path))
            get = await wire.answer()
            wire.send(self.head("HEAD", path))
            head = await wire.answer("HEAD")
            for answer in (get, head):
                answer.headers.pop("date")
            self.assertEqual(head.headers, get.headers)
            self.assertEqual((head.status, head.body), (200, b""))
            wire.send(self.head("GET", path, "Connection: close"))
            self.assertTrue((await wire.closed()).startswith(b"HTTP/1.1 200"))

    async def test_only_harmless_types_are_inline(self) -> None:
        """Spec §4.3, R3."""
        for sent, kind in (
            ("image/png", "inline"),
            ("Text/Plain; charset=utf-8", "inline"),
            ("video/mp4", "inline"),
            ("audio/x-flac", "inline"),
            ("application/json", "inline"),
            ("text/html", "attachment"),
            ("image/svg+xml", "attachment"),
            ("application/pdf", "attachment"),
            ("text/javascript", "attachment"),
            ("application/octet-stream", "attachment"),
        ):
            answer = await self.download(await self.upload(b"data", sent))
            self.assertEqual(answer.headers["content-disposition"], kind, sent)

    async def test_a_type_that_is_none_is_an_octet_stream(self) -> None:
        """R4."""
        for sent in ("html", "text/html, image/png", "a/b; c"):
            answer = await self.download(await self.upload(b"data", sent))
            self.assertEqual(answer.headers["content-type"], "application/octet-stream")
            self.assertEqual(answer.headers["content-disposition"], "attachment")

    async def test_as_attachment(self) -> None:
        media_id = await self.upload(b"data", "image/png", "a.png")
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        name = "org.matrix.msc2702.asAttachment"
        for value, kind in (("true", "attachment"), ("false", "inline")):
            answer = await self.get(f"{path}?{name}={value}")
            self.assertEqual(
                answer.headers["content-disposition"], f"{kind}; filename=a.png"
            )
        self.assertEqual((await self.get(f"{path}?{name}=maybe")).status, 400)

    async def test_names_arrive_as_they_were_given(self) -> None:
        """D18, R72, RFC 6266, RFC 8187."""
        media_id = await self.upload(b"data", "image/png")
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}/"
        for sent, shown in (
            ("cat.png", "; filename=cat.png"),
            ("my%20cat.png", '; filename="my cat.png"'),
            ("a+b.png", "; filename=a+b.png"),
            ("%E2%82%AC.png", "; filename=\"_.png\"; filename*=utf-8''%E2%82%AC.png"),
            ("a%22b.png", "; filename=\"a_b.png\"; filename*=utf-8''a%22b.png"),
            ("a%0D%0Ab%3A%20c.png", '; filename="ab: c.png"'),
            ("%E2%80%AEgnp.exe", "; filename=gnp.exe"),
            ("%20", ""),
        ):
            answer = await self.get(path + sent)
            self.assertEqual(
                answer.headers["content-disposition"], "inline" + shown, sent
            )

    async def test_a_name_that_elsewhere_means_none_is_kept(self) -> None:
        """Spec §4.3: MMR calls remote files so that came without one."""
        media_id = await self.upload(b"data", "image/png", "download")
        answer = await self.download(media_id)
        self.assertEqual(
            answer.headers["content-disposition"], "inline; filename=download"
        )
        await self.server.db.interaction(
            "strip", lambda txn: txn.execute("UPDATE media SET user_id = ''")
        )
        self.server.media_records.clear()
        answer = await self.download(media_id)
        self.assertEqual(answer.headers["content-disposition"], "inline")

    async def test_an_empty_file_can_be_had(self) -> None:
        answer = await self.download(await self.upload(b"", "text/plain"))
        self.assertEqual((answer.status, answer.body), (200, b""))

    async def test_unknown_media_is_404(self) -> None:
        await self.upload(b"data")
        for prefix in PREFIXES:
            answer = await self.get(f"{prefix}/download/{HOST}/unknown")
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")

    async def test_ids_that_cannot_be_are_refused(self) -> None:
        """R70, D33: 400 or 404, never 500."""
        base = "/_matrix/client/v1/media/download"
        for server, media_id in (
            (HOST, ".."),
            (HOST, "%2e%2e"),
            (HOST, "a%2fb"),
            (HOST, "a%00"),
            (HOST, "a%0A"),
            (HOST, "%C0%AE"),
            (HOST, "x" * 256),
            ("..", "abc"),
            ("a_b", "abc"),
            ("1.2.3.999", "abc"),
            (f"{HOST}%0A", "abc"),
            (f"{HOST}:99999", "abc"),
            ("%5B::1", "abc"),
        ):
            answer = await self.get(f"{base}/{server}/{media_id}")
            self.assertIn(answer.status, (400, 404), (server, media_id))
            self.assertTrue(answer.json["errcode"].startswith("M_"))

    async def test_numbers_and_flags_are_read_strictly(self) -> None:
        """R67."""
        media_id = await self.upload(b"data")
        path = f"/_matrix/media/v3/download/{HOST}/{media_id}"
        for query in (
            "timeout_ms=%EF%BC%91",
            "timeout_ms=%2B1",
            "timeout_ms=1_0",
            "timeout_ms=1.5",
            "timeout_ms=" + "9" * 30,
            "allow_remote=yes",
            "allow_redirect=2",
        ):
            self.assertEqual((await self.get(f"{path}?{query}")).status, 400, query)
        query = "timeout_ms=-5&allow_remote=F&allow_redirect=TRUE"
        self.assertEqual((await self.get(f"{path}?{query}")).status, 200)

    async def test_a_missing_object_is_404(self) -> None:
        """R94, R102."""
        media_id = await self.upload(b"data" * 100)
        (await self.path_of(media_id)).unlink()
        answer = await self.download(media_id)
        self.assertEqual(answer.status, 404)
        self.assertNotIn("etag", answer.headers)

    async def test_a_damaged_object_is_not_served(self) -> None:
        """R102: neither cut nor grown."""
        for data in (b"data" * 100, LARGE):
            media_id = await self.upload(data)
            path = await self.path_of(media_id)
            for damaged in (data[:-1], data + b"x", b""):
                path.write_bytes(damaged)
                answer = await self.download(media_id)
                self.assertEqual(answer.status, 500)
                self.assertEqual(answer.json["errcode"], "M_UNKNOWN")

    async def test_an_object_that_ends_early_breaks_the_connection(self) -> None:
        """R68: nothing is written into the body (D20)."""
        media_id = await self.upload(LARGE)
        path = await self.path_of(media_id)
        original = self.store.open

        async def open_then_cut(location: str) -> object:
            stored = await original(location)
            path.write_bytes(LARGE[:1000])
            return stored

        self.patch(self.store, "open", open_then_cut)
        wire = await self.wire()
        url = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("GET", url))
        received = await wire.closed()
        head, _, body = received.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(LARGE), head)
        self.assertEqual(body, LARGE[: len(body)])
        self.assertLess(len(body), len(LARGE))

    async def test_a_client_that_leaves_holds_no_file_open(self) -> None:
        """R66."""
        media_id = await self.upload(LARGE * 20)
        wire = await self.wire()
        assert wire.transport is not None
        wire.transport.pauseProducing()
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("GET", path))
        await self.eventually(lambda: self.open_files() == 1)
        wire.abort()
        await self.eventually(lambda: self.open_files() == 0)

    def open_files(self) -> int:
        """Descriptors of this process within the media folder."""
        links = []
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"/proc/self/fd/{number}"))
        return sum(link.startswith(str(self.media_folder)) for link in links)
