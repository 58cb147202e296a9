"""The server with nothing but S3 behind it, and redirects into it (§5.4)."""

from __future__ import annotations

import os
import urllib.request
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from mmr.datastores import s3_parts
from mmr.datastores.base import Redirecting

from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.harness import HOST, ServerCase, jpeg


class S3ServerCase(ServerCase):
    """A server whose only datastore is a bucket."""

    options: ClassVar[dict[str, str]] = {}

    async def setUp(self) -> None:
        self.bucket = new_bucket()
        self.config = {  # type: ignore[misc]
            **self.config,
            "datastores": [
                {
                    "type": "s3",
                    "id": "bucket",
                    "forKinds": ["all"],
                    "opts": bucket_options(self.bucket, **self.options),
                }
            ],
        }
        await super().setUp()
        self.raw: Any = raw_client(moto_endpoint())

    def keys(self) -> list[str]:
        """Every key in the bucket."""
        answer = self.raw.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in answer.get("Contents", ())]


class OnlyS3Tests(S3ServerCase):
    async def test_uploads_come_back_whole_and_in_parts(self) -> None:
        self.patch(s3_parts, "PART_BYTES", 5 * 1024 * 1024)
        for size in (0, 20_000, 300_000, 12_000_000):
            data = os.urandom(size)
            media_id = await self.upload(data, "application/octet-stream")
            answer = await self.download(media_id)
            self.assertEqual((answer.status, answer.body), (200, data))
            if size:
                part = await self.download(media_id, headers={"Range": "bytes=5-14"})
                self.assertEqual((part.status, part.body), (206, data[5:15]))
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_thumbnails_of_large_pictures(self) -> None:
        picture = jpeg(1600, 1200) + b"\0" * 3_000_000
        media_id = await self.upload(picture, "image/jpeg")
        answer = await self.thumbnail(media_id)
        self.assertEqual(answer.status, 200)
        self.assertEqual(len(self.keys()), 2)

    async def test_a_lost_object_is_not_found(self) -> None:
        media_id = await self.upload(os.urandom(300_000))
        self.raw.delete_object(Bucket=self.bucket, Key=self.keys()[0])
        self.assertEqual((await self.download(media_id)).status, 404)

    async def test_a_damaged_object_is_never_served(self) -> None:
        """R102."""
        media_id = await self.upload(os.urandom(300_000))
        self.raw.put_object(Bucket=self.bucket, Key=self.keys()[0], Body=b"short")
        self.assertEqual((await self.download(media_id)).status, 500)

    async def test_nothing_redirects_unless_configured(self) -> None:
        media_id = await self.upload(b"data")
        path = f"/_matrix/media/v3/download/{HOST}/{media_id}?allow_redirect=true"
        self.assertEqual((await self.get(path)).status, 200)

    async def test_a_deleted_record_takes_its_object_along(self) -> None:
        media_id = await self.upload(b"data")
        await self.server.db.interaction(
            "delete", self.server.stores.media.delete_media_txn, HOST, media_id
        )
        self.assertEqual(await self.server.sweep.delete_queued(), 1)
        self.assertEqual(self.keys(), [])


class PublicRedirectTests(S3ServerCase):
    options: ClassVar[dict[str, str]] = {
        "publicBaseUrl": "https://cdn.example/media/",
        "prefixLength": "2",
    }

    async def test_new_routes_always_redirect(self) -> None:
        """R7: base and stored key; no Referer; kept by no cache."""
        media_id = await self.upload(b"data")
        answer = await self.download(media_id)
        self.assertEqual(answer.status, 307)
        location = (await self.record(media_id)).location
        self.assertEqual(
            answer.headers["location"], f"https://cdn.example/media/{location}"
        )
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(answer.headers["cache-control"], "no-store")

    async def test_old_routes_redirect_only_when_asked_to(self) -> None:
        media_id = await self.upload(b"data")
        path = f"/_matrix/media/v3/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(path)).body, b"data")
        self.assertEqual((await self.get(path + "?allow_redirect=true")).status, 307)
        self.assertEqual((await self.get(path + "?allow_redirect=maybe")).status, 400)

    async def test_thumbnails_redirect_too(self) -> None:
        media_id = await self.upload(jpeg(400, 300), "image/jpeg")
        answer = await self.thumbnail(media_id)
        self.assertEqual(answer.status, 307)
        self.assertIn(answer.headers["location"].rpartition("media/")[2], self.keys())

    async def test_what_the_client_has_is_not_sent_again(self) -> None:
        media_id = await self.upload(b"data")
        etag = f'"{(await self.record(media_id)).sha256_hash}"'
        answer = await self.download(media_id, headers={"If-None-Match": etag})
        self.assertEqual(answer.status, 304)

    async def test_quarantined_media_is_not_redirected(self) -> None:
        """R88."""
        media_id = await self.upload(b"data")
        await self.quarantine(media_id)
        self.assertEqual((await self.download(media_id)).status, 404)

    async def test_hostile_keys_stay_below_the_base(self) -> None:
        """R7."""
        store = self.server.datastores.get("bucket")
        assert isinstance(store, Redirecting)
        for key in ("a?b#c", "a\\b", "a\r\nX-Evil: 1", "@evil.example/x", "ü/%2e"):
            url = await store.redirect_url(key, "image/png", "inline")
            parts = urlsplit(url)
            self.assertEqual((parts.netloc, parts.query), ("cdn.example", ""))
            self.assertTrue(parts.path.startswith("/media/"))
            self.assertTrue(url.isascii() and url.isprintable())


class WarmRedirectTests(S3ServerCase):
    """What is in memory goes out from there."""

    config: ClassVar[dict[str, Any]] = {
        "downloads": {"cache": {"enabled": True, "minDownloads": 1}}
    }
    options: ClassVar[dict[str, str]] = {
        "publicBaseUrl": "https://cdn.example/media/",
    }
    warm_status = 200

    async def test_bytes_in_memory_are_given_from_there_or_not(self) -> None:
        media_id = await self.upload(b"data")
        self.assertEqual((await self.download(media_id)).status, 307)
        old = f"/_matrix/media/v3/download/{HOST}/{media_id}"
        for _ in range(3):
            self.assertEqual((await self.get(old)).body, b"data")
        answer = await self.download(media_id)
        self.assertEqual(answer.status, self.warm_status)


class RedirectWhenCachedTests(WarmRedirectTests):
    """Unless ``redirectWhenCached`` says otherwise."""

    options: ClassVar[dict[str, str]] = {
        **WarmRedirectTests.options,
        "redirectWhenCached": "true",
    }
    warm_status = 307


class PresignedRedirectTests(S3ServerCase):
    options: ClassVar[dict[str, str]] = {"presignedRedirects": "true"}

    async def test_the_url_works_is_short_lived_and_says_what_it_is(self) -> None:
        """R88."""
        media_id = await self.upload(b"data", "text/html", "page.html")
        answer = await self.download(media_id)
        self.assertEqual(answer.status, 307)
        url = answer.headers["location"]
        query = parse_qs(urlsplit(url).query)
        self.assertEqual(query["X-Amz-Expires"], ["300"])
        self.assertTrue(
            query["response-content-disposition"][0].startswith("attachment")
        )

        def fetch() -> tuple[bytes, str]:
            with urllib.request.urlopen(url) as found:
                return found.read(), found.headers["Content-Disposition"]

        data, disposition = await self.server.files.run(fetch)
        self.assertEqual(data, b"data")
        self.assertIn("page.html", disposition)


class ReloadTests(S3ServerCase):
    async def test_a_changed_bucket_is_used_after_a_reload(self) -> None:
        """Clients are rebuilt at a reload (mmr-config §4.5)."""
        media_id = await self.upload(b"data")
        options = self.config["datastores"][0]["opts"]
        options["prefixLength"] = "4"
        self.write_config(self.server.config.domains[HOST].cs_api)
        from mmr.config import load_config

        self.server.reload(load_config([self.config_file]))
        self.assertEqual((await self.download(media_id)).body, b"data")
        other = await self.upload(b"other")
        self.assertEqual((await self.record(other)).location[4], "/")
