"""Quarantine ends the public URLs of a bucket (R88)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, ClassVar

from mmr.datastores.base import DatastoreError
from mmr.datastores.s3 import S3Datastore

from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.harness import HOST, jpeg
from tests.rest.admin.case import AdminCase


class PublicCase(AdminCase):
    """A public bucket, whose objects anybody can fetch."""

    options: ClassVar[dict[str, str]] = {}

    async def setUp(self) -> None:
        self.bucket = new_bucket()
        base = f"http://{moto_endpoint()}/{self.bucket}/"
        opts = bucket_options(self.bucket, publicBaseUrl=base, **self.options)
        self.config = {
            "datastores": [
                {"type": "s3", "id": "bucket", "forKinds": ["all"], "opts": opts}
            ]
        }
        await super().setUp()
        self.raw: Any = raw_client(moto_endpoint())
        everything = f"arn:aws:s3:::{self.bucket}/*"
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": everything,
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.raw.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))

    def keys(self) -> set[str]:
        answer = self.raw.list_objects_v2(Bucket=self.bucket)
        return {item["Key"] for item in answer.get("Contents", ())}

    @property
    def bucket_store(self) -> S3Datastore:
        store = self.server.datastores.get("bucket")
        assert isinstance(store, S3Datastore)
        return store

    async def url_of(self, path: str) -> str:
        answer = await self.get(path)
        self.assertEqual(answer.status, 307)
        return answer.headers["location"]

    async def media_url(self, media_id: str) -> str:
        return await self.url_of(f"/_matrix/client/v1/media/download/{HOST}/{media_id}")

    async def fetch(self, url: str) -> bytes | int:
        """The bytes, or the status."""

        def fetch() -> bytes | int:
            try:
                with urllib.request.urlopen(url) as found:
                    return bytes(found.read())
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        return await self.server.files.run(fetch)

    async def quarantine_it(self, media_id: str) -> dict[str, Any]:
        answer = await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(answer.status, 200)
        self.assertEqual((await self.download(media_id)).status, 404)
        return answer.json


class EndingTests(PublicCase):
    async def test_old_urls_of_media_and_thumbnails_are_dead(self) -> None:
        photo = jpeg(400, 300)
        media_id = await self.upload(photo, "image/jpeg")
        urls = [await self.media_url(media_id)]
        for size in (32, 96):
            path = f"/_matrix/client/v1/media/thumbnail/{HOST}/{media_id}"
            query = f"?width={size}&height={size}&method=crop"
            urls.append(await self.url_of(path + query))
        for url in urls:
            self.assertIsInstance(await self.fetch(url), bytes)
        before = self.keys()
        answer = await self.quarantine_it(media_id)
        self.assertEqual((answer["num_quarantined"], answer["skipped"]), (1, []))
        for url in urls:
            self.assertEqual(await self.fetch(url), 404)
        self.assertEqual(len(self.keys()), len(before))
        self.assertFalse(self.keys() & before)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        self.assertEqual(await self.count("mmr_object_deletes"), 0)

    async def test_what_is_released_has_a_new_url_that_works(self) -> None:
        media_id = await self.upload(b"data")
        old = await self.media_url(media_id)
        await self.quarantine_it(media_id)
        released = await self.post(f"unquarantine/{HOST}/{media_id}")
        self.assertEqual(released.status, 200)
        new = await self.media_url(media_id)
        self.assertNotEqual(new, old)
        self.assertEqual(await self.fetch(new), b"data")
        self.assertEqual(await self.fetch(old), 404)

    async def test_pinned_media_of_the_same_content_is_served_from_there(self) -> None:
        bad, pinned = [
            await self.upload(b"data", token=f"{name}-token")
            for name in ("alice", "bob")
        ]
        attributes = await self.post(
            f"media/{HOST}/{pinned}/attributes/set", body=b'{"purpose": "pinned"}'
        )
        self.assertEqual(attributes.status, 200)
        old = await self.media_url(pinned)
        await self.quarantine_it(bad)
        self.assertEqual(await self.fetch(old), 404)
        self.assertEqual(await self.fetch(await self.media_url(pinned)), b"data")
        self.assertEqual(len(self.keys()), 1)

    async def test_totals_stay_right(self) -> None:
        media_id = await self.upload(b"data")
        before = await self.server._datastore_bytes()
        await self.quarantine_it(media_id)
        self.assertEqual(await self.server._datastore_bytes(), before)


class FailingTests(PublicCase):
    """What could not be done is said, and can be done by the same call later."""

    def fail(self, *_: object) -> None:
        raise DatastoreError("the key may not do that")

    async def test_an_object_that_cannot_be_copied_is_reported(self) -> None:
        media_id = await self.upload(b"data")
        url = await self.media_url(media_id)
        broken = self.patch(self.bucket_store, "_copy", self.fail)
        with self.assertLogs("mmr.media.rekey", "ERROR") as logged:
            answer = await self.quarantine_it(media_id)
        self.assertEqual(answer["num_quarantined"], 1)
        mxc = f"mxc://{HOST}/{media_id}"
        self.assertEqual(answer["skipped"], [{"mxc": mxc, "reason": "still_public"}])
        self.assertIn(url.rpartition("/")[2], logged.output[0])
        self.assertEqual(await self.fetch(url), b"data")
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        broken.restore()
        again = await self.quarantine_it(media_id)
        self.assertEqual((again["num_quarantined"], again["skipped"]), (0, []))
        self.assertEqual(await self.fetch(url), 404)

    async def test_an_object_that_cannot_be_deleted_is_reported_and_queued(
        self,
    ) -> None:
        media_id = await self.upload(b"data")
        url = await self.media_url(media_id)
        broken = self.patch(self.bucket_store, "_delete", self.fail)
        answer = await self.quarantine_it(media_id)
        [skipped] = answer["skipped"]
        self.assertEqual(skipped["reason"], "still_public")
        broken.restore()
        await self.execute("UPDATE mmr_object_deletes SET next_try_ts = 0")
        self.assertEqual(await self.server.sweep.delete_queued(), 1)
        self.assertEqual(await self.fetch(url), 404)

    async def test_a_lost_object_is_no_failure(self) -> None:
        media_id = await self.upload(b"data")
        self.raw.delete_object(Bucket=self.bucket, Key=self.keys().pop())
        answer = await self.quarantine_it(media_id)
        self.assertEqual((answer["num_quarantined"], answer["skipped"]), (1, []))

    async def test_a_crash_after_the_copy_leaves_one_object(self) -> None:
        """R94."""
        media_id = await self.upload(b"data")
        transfers = self.server.stores.transfers

        async def crash(*_: object, **__: object) -> None:
            raise DatastoreError("crash")

        self.patch(transfers, "move", crash)
        await self.quarantine_it(media_id)
        self.assertEqual(len(self.keys()), 2)
        await self.server.sweep.sweep(older_than_s=-10)
        await self.server.sweep.delete_queued()
        self.assertEqual(self.keys(), {(await self.record(media_id)).location})


class SignedTests(PublicCase):
    options: ClassVar[dict[str, str]] = {"presignedRedirects": "true"}

    async def test_signed_urls_end_by_themselves(self) -> None:
        """R88: they live five minutes at most."""
        media_id = await self.upload(b"data")
        url = await self.media_url(media_id)
        self.assertIn("X-Amz-Expires=300", url)
        before = self.keys()
        await self.quarantine_it(media_id)
        self.assertEqual(self.keys(), before)
