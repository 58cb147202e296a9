"""Uploads that are taken, on both engines (mmr-http-api.md §4.2, §4.3)."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from tests.harness import ALICE, HOST, SHARED_SECRET, ServerCase

DATA = bytes(range(256)) * 4
LARGE = hashlib.sha256(b"seed").digest() * 20_000  # more than the writer's memory


class UploadCases(ServerCase):
    __test__: ClassVar[bool] = False

    async def test_every_upload_path_stores_and_the_bytes_come_back(self) -> None:
        for number, version in enumerate(("r0", "v1", "v3")):
            data = DATA + bytes([number])
            answer = await self.request(
                "POST", f"/_matrix/media/{version}/upload", body=data
            )
            self.assertEqual(answer.status, 200)
            self.assertEqual(list(answer.json), ["content_uri"])
            media_id = answer.json["content_uri"].rpartition("/")[2]
            self.assertEqual((await self.download(media_id)).body, data)

    async def test_a_record_says_what_the_uploader_said(self) -> None:
        media_id = await self.upload(DATA, "text/plain; charset=utf-8", "a.txt")
        record = await self.record(media_id)
        self.assertEqual(record.user_id, ALICE)
        self.assertEqual(record.upload_name, "a.txt")
        self.assertEqual(record.content_type, "text/plain; charset=utf-8")
        self.assertEqual(record.size_bytes, len(DATA))
        self.assertEqual(record.sha256_hash, hashlib.sha256(DATA).hexdigest())
        self.assertTrue(record.requires_auth)
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_a_chunked_body_is_stored_whole(self) -> None:
        wire = await self.wire()
        wire.send(
            self.head("POST", "/_matrix/media/v3/upload", "Transfer-Encoding: chunked")
        )
        for start in range(0, len(LARGE), 100_000):
            wire.send_chunk(LARGE[start : start + 100_000])
        wire.send_chunk(b"")
        answer = await wire.answer()
        self.assertEqual(answer.status, 200)
        media_id = answer.json["content_uri"].rpartition("/")[2]
        self.assertEqual((await self.download(media_id)).body, LARGE)

    async def test_a_large_body_goes_to_disk_as_it_comes(self) -> None:
        """R64: it is never held whole."""
        wire = await self.wire()
        wire.send(self.head("POST", "/_matrix/media/v3/upload", _length(LARGE)))
        wire.send(LARGE[:-1])
        await self.eventually(lambda: bool(self.files()))
        wire.send(LARGE[-1:])
        self.assertEqual((await wire.answer()).status, 200)
        self.assertEqual(len(self.files()), 1)

    async def test_forms_are_bytes_like_any_others(self) -> None:
        """R64."""
        for sent in ("multipart/form-data; boundary=x", _FORM):
            body = b"--x\r\nname=value&a=b " + sent.encode()
            media_id = await self.upload(body, sent)
            answer = await self.download(media_id)
            self.assertEqual(
                (answer.body, answer.headers["content-type"]), (body, sent)
            )

    async def test_a_type_that_nobody_knows_is_kept(self) -> None:
        """Spec §3.4."""
        for sent in ("img/png", "application/x-unheard-of"):
            media_id = await self.upload(DATA, sent)
            self.assertEqual(
                (await self.download(media_id)).headers["content-type"], sent
            )

    async def test_an_upload_without_a_type_is_an_octet_stream(self) -> None:
        for line in ((), ("Content-Type: ",), ("Content-Type: a/" + "b" * 300,)):
            wire = await self.wire()
            head = self.head("POST", "/_matrix/media/v3/upload", _length(DATA), *line)
            wire.send(head + DATA)
            media_id = (await wire.answer()).json["content_uri"].rpartition("/")[2]
            answer = await self.download(media_id)
            self.assertEqual(answer.headers["content-type"], "application/octet-stream")

    async def test_of_a_file_name_the_last_part_is_kept(self) -> None:
        """D17: without a name there is none, rather than a dot."""
        for sent, kept in (
            ("cat.png", "cat.png"),
            ("a/b/cat.png", "cat.png"),
            ("..%2F..%2Fpasswd", "passwd"),
            ("", ""),
            ("na%C3%AFve%20caf%C3%A9.txt", "naïve café.txt"),
            ("folder%2F", ""),
            ("x" * 3000, "x" * 1024),
        ):
            media_id = await self.upload(DATA, filename=sent)
            self.assertEqual((await self.record(media_id)).upload_name, kept)

    async def test_a_file_name_that_is_not_utf_8_is_refused(self) -> None:
        """R67."""
        for name in ("%FF", "%00", "%zz", "a%C0%AFb"):
            path = f"/_matrix/media/v3/upload?filename={name}"
            answer = await self.request("POST", path, body=DATA)
            self.assertEqual(answer.status, 400, name)
        self.assertTrue(await self.is_empty())

    async def test_the_shared_secret_uploads_without_asking_the_homeserver(
        self,
    ) -> None:
        media_id = await self.upload(DATA, token=SHARED_SECRET)
        self.assertEqual((await self.record(media_id)).user_id, "@sharedsecret")
        self.assertEqual(self.homeserver.requests, [])

    async def test_a_token_may_come_in_the_query(self) -> None:
        path = "/_matrix/media/v3/upload?access_token=alice-token"
        answer = await self.request("POST", path, body=DATA, token=None)
        self.assertEqual(answer.status, 200)

    async def test_what_is_uploaded_survives_a_restart(self) -> None:
        """R94."""
        small = await self.upload(DATA)
        large = await self.upload(LARGE)
        await self.stop_server()
        await self.start_server()
        self.assertEqual((await self.download(small)).body, DATA)
        self.assertEqual((await self.download(large)).body, LARGE)
        usage = await self.get("/_matrix/media/unstable/org.matrix.msc4034/usage")
        self.assertEqual(usage.json["org.matrix.msc4034.storage.files"], 2)

    async def test_an_upload_is_found_under_its_own_server_only(self) -> None:
        media_id = await self.upload(DATA)
        record = await self.server.stores.media.get_media("other.example", media_id)
        self.assertIsNone(record)
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}x"
        self.assertEqual((await self.get(path)).status, 404)


_FORM = "application/x-www-form-urlencoded"


def _length(data: bytes) -> str:
    return f"Content-Length: {len(data)}"


class UploadsOnSqlite(UploadCases):
    __test__ = True


class UploadsOnPostgres(UploadCases):
    __test__ = True
    engine = "postgres"
