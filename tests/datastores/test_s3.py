"""The S3 datastore against a real S3 server."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mmr.datastores import s3_parts
from mmr.datastores.base import (
    Datastore,
    DatastoreError,
    DatastoreFull,
    ObjectWriter,
)
from mmr.datastores.free_space import FreeSpace
from mmr.datastores.s3_put import Put
from mmr.datastores.s3_writer import S3Writer
from mmr.util.clock import Clock

from tests.datastores.contract import DatastoreContract
from tests.datastores.fakes import SmallDisk
from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
    s3_store,
)
from tests.waiting import Waiting


class S3Case(Waiting, TestCase):
    """A store to look into, without the contract's tests."""

    options: dict[str, str] = {}
    timeout = 60
    setUp = DatastoreContract.setUp
    new_location = DatastoreContract.new_location
    sealed = DatastoreContract.sealed
    stored = DatastoreContract.stored
    read = DatastoreContract.read

    def make_datastore(self) -> Datastore:
        self.bucket = new_bucket()
        self.s3 = s3_store(self, bucket_options(self.bucket, **self.options))
        self.raw: Any = raw_client(moto_endpoint())
        return self.s3

    def keys(self) -> list[str]:
        """Every key in the bucket."""
        answer = self.raw.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in answer.get("Contents", ())]


class S3ContractTests(S3Case, DatastoreContract):
    """As a provider of which nothing is known yet."""

    __test__ = True

    async def test_the_key_is_mmrs(self) -> None:
        location = await self.stored(b"data")
        self.assertRegex(location, r"^[0-9a-f]{40}[0-9]+idv2fmt$")
        self.assertEqual(self.keys(), [location])

    async def test_an_object_knows_its_type_and_what_may_not_be_shown_inline(
        self,
    ) -> None:
        """R3: a browser that gets it from a public bucket runs nothing."""
        for given, kept, disposition in (
            ("image/png", "image/png", "inline"),
            ("text/html", "text/html", "attachment"),
            ("image/svg+xml", "image/svg+xml", "attachment"),
            ("no\r\ntype", "application/octet-stream", "attachment"),
        ):
            for size in (10, 300_000):
                writer = await self.store.create(size, given)
                await writer.write(bytes(size))
                await writer.seal()
                location = self.new_location()
                await writer.publish(location)
                head = self.raw.head_object(Bucket=self.bucket, Key=location)
                self.assertEqual(
                    (head["ContentType"], head["ContentDisposition"]),
                    (kept, disposition),
                )

    async def test_listing_goes_on_where_it_ended(self) -> None:
        locations = sorted([await self.stored(b"x" * size) for size in (1, 2, 3)])
        found, more = await self.s3.keys()
        self.assertEqual([key for key, _ in found], locations)
        self.assertFalse(more)
        found, _ = await self.s3.keys(after=locations[0])
        self.assertEqual([key for key, _ in found], locations[1:])


class ProbedS3ContractTests(S3Case, DatastoreContract):
    """With what the probe has found."""

    __test__ = True
    options = {"prefixLength": "2", "storageClass": "STANDARD_IA"}

    async def test_the_probe_leaves_nothing(self) -> None:
        await self.store.check()
        await self.store.probe()
        self.assertEqual(self.keys(), [])

    async def test_gives_back_what_was_written_after_the_probe(self) -> None:
        await self.store.check()
        self.assertTrue(self.s3.client.habits.trailers)
        for size in (0, 1, 300_000):
            data = os.urandom(size)
            self.assertEqual(await self.read(await self.stored(data)), data)

    async def test_publish_never_overwrites_after_the_probe(self) -> None:
        await self.store.check()
        await self.test_publish_never_overwrites()

    async def test_prefix_and_storage_class_are_the_configured_ones(self) -> None:
        location = await self.stored(b"data")
        self.assertRegex(location, r"^[0-9a-f]{2}/[0-9a-f]{38}[0-9]+idv2fmt$")
        head = self.raw.head_object(Bucket=self.bucket, Key=location)
        self.assertEqual(head["StorageClass"], "STANDARD_IA")


class CredentialTests(S3Case):
    async def test_without_a_key_the_usual_places_are_asked(self) -> None:
        """Environment, files of the AWS tools, the machine's role."""
        self.patch(
            os,
            "environ",
            {
                **os.environ,
                "AWS_ACCESS_KEY_ID": "key-of-the-environment",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
        )
        options = bucket_options(self.bucket)
        del options["accessKeyId"], options["accessSecret"]
        store = s3_store(self, {**options, "presignedRedirects": "true"})
        await store.check()
        url = await store.redirect_url("ab/cd", "image/png", "inline")
        self.assertIn("key-of-the-environment", url)


class MultipartTests(S3Case):
    """Objects that are put in parts."""

    def setUp(self) -> None:
        DatastoreContract.setUp(self)  # type: ignore[arg-type]
        # S3's smallest part.
        self.patch(s3_parts, "PART_BYTES", 5 * 1024 * 1024)

    async def test_a_large_object_arrives_whole_in_parts(self) -> None:
        for probed in (False, True):
            if probed:
                await self.store.check()
            data = os.urandom(12 * 1024 * 1024 + 7)
            location = await self.stored(data)
            head = self.raw.head_object(Bucket=self.bucket, Key=location)
            self.assertTrue(head["ETag"].strip('"').endswith("-3"))
            self.assertEqual(await self.read(location), data)
        self.assertEqual(self.s3.unfinished, set())

    async def test_parts_are_never_used_when_the_provider_knows_none(self) -> None:
        options = bucket_options(self.bucket, multipartUploads="false")
        self.store = self.s3 = s3_store(self, options)
        data = os.urandom(11 * 1024 * 1024)
        location = await self.stored(data)
        head = self.raw.head_object(Bucket=self.bucket, Key=location)
        self.assertNotIn("-", head["ETag"])

    async def test_a_large_object_overwrites_nothing(self) -> None:
        location = await self.stored(b"the first")
        writer = await self.sealed(os.urandom(6 * 1024 * 1024), 1024 * 1024)
        with self.assertRaises(DatastoreError):
            await writer.publish(location)
        self.assertEqual(await self.read(location), b"the first")

    async def test_parts_go_out_while_the_rest_comes_in(self) -> None:
        writer = await self.early_writer()
        data = os.urandom(17_000_000)
        await writer.write(data[:11_000_000])
        await self.eventually(lambda: self.parts() == [2])
        self.assertEqual(self.keys(), [])
        await writer.write(data[11_000_000:])
        self.assertEqual(await writer.seal(), hashlib.sha256(data).hexdigest())
        assert writer.location is not None
        await writer.publish(writer.location)
        self.assertEqual(await self.read(writer.location), data)
        self.assertEqual((self.parts(), self.s3.unfinished), ([], set()))

    async def test_what_is_not_wanted_after_all_is_taken_back(self) -> None:
        """R98: failed multipart uploads are aborted."""
        writer = await self.early_writer()
        await writer.write(os.urandom(11_000_000))
        await self.eventually(lambda: self.parts() == [2])
        await writer.discard()
        await self.eventually(lambda: self.parts() == [])
        await self.eventually(lambda: not self.s3.unfinished)
        self.assertEqual(self.keys(), [])

    async def test_parts_that_another_process_has_swept_are_put_again(self) -> None:
        """R95: an upload may last longer than the sweep waits."""
        writer = await self.early_writer()
        data = os.urandom(2 * s3_parts.PART_BYTES)
        await writer.write(data)
        await self.eventually(lambda: self.parts() == [2])
        other = s3_store(self, bucket_options(self.bucket))
        self.assertEqual(await other.sweep_temporary(-3600), 1)
        self.patch(Put, "complete", self.says_what_moto_does_not(Put.complete))
        await writer.seal()
        assert writer.location is not None
        await writer.publish(writer.location)
        self.assertEqual(await self.read(writer.location), data)

    def says_what_moto_does_not(self, real: Callable[..., None]) -> Any:
        """Its answer to a swept upload is 500."""
        swept = set(self.s3.unfinished)

        def complete(put: Put, upload_id: str, *more: Any) -> None:
            if upload_id in swept:
                raise ClientError({"Error": {"Code": "NoSuchUpload"}}, "Complete")
            real(put, upload_id, *more)

        return complete

    async def test_a_failure_on_the_way_is_no_failure_in_the_end(self) -> None:
        """R98: S3 was away while the upload came in."""
        writer = await self.early_writer()
        data = os.urandom(11_000_000)
        error = ClientError({"Error": {"Code": "SlowDown"}}, "UploadPart")

        def fail(*_: Any) -> None:
            raise error

        broken = self.patch(Put, "part", fail)
        await writer.write(data)
        assert isinstance(writer, S3Writer)
        parts = writer._parts
        assert parts is not None
        await self.eventually(lambda: parts.has_failed)
        broken.restore()
        await writer.seal()
        assert writer.location is not None
        await writer.publish(writer.location)
        self.assertEqual(await self.read(writer.location), data)
        await self.eventually(lambda: self.parts() == [])
        self.assertEqual(self.s3.unfinished, set())

    async def test_small_objects_are_not_begun_early(self) -> None:
        writer = await self.early_writer()
        await writer.write(os.urandom(5_000_000))
        await writer.seal()
        self.assertIsNone(writer.location)
        await writer.publish(self.new_location())

    async def early_writer(self) -> ObjectWriter:
        """A writer of a store that may name objects."""
        options = bucket_options(self.bucket)
        self.store = self.s3 = s3_store(self, options, object_name=self.ids.object_name)
        return await self.store.create()

    def parts(self) -> list[int]:
        """Parts of each multipart upload that has not ended."""
        found = []
        uploads = self.raw.list_multipart_uploads(Bucket=self.bucket)
        for upload in uploads.get("Uploads", ()):
            names = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            # It may end in between.
            with contextlib.suppress(ClientError):
                answer = self.raw.list_parts(Bucket=self.bucket, **names)
                found.append(len(answer.get("Parts", ())))
        return found

    async def test_the_sweep_aborts_old_uploads_of_ours_only(self) -> None:
        """R95: unfinished multipart uploads; buckets may be shared."""
        ours = self.new_location()
        for key in (ours, "backup/of-somebody-else"):
            self.raw.create_multipart_upload(Bucket=self.bucket, Key=key)
        running = self.raw.create_multipart_upload(
            Bucket=self.bucket, Key=self.new_location()
        )
        self.s3.unfinished.add(running["UploadId"])
        self.assertEqual(await self.store.sweep_temporary(100 * 365 * 86400), 0)
        self.assertEqual(await self.store.sweep_temporary(-3600), 1)
        left = self.raw.list_multipart_uploads(Bucket=self.bucket)["Uploads"]
        self.assertNotIn(ours, [upload["Key"] for upload in left])
        self.assertEqual(len(left), 2)


class ReadingTests(S3Case):
    """Reading at the client's pace and at any place."""

    size = 3_000_000

    async def test_pieces_in_order_make_the_object(self) -> None:
        data = os.urandom(self.size)
        found = await self.store.open(await self.stored(data))
        pieces = []
        for offset in range(0, self.size, 256 * 1024):
            pieces.append(await found.read(offset, 256 * 1024))
        await found.close()
        self.assertEqual(b"".join(pieces), data)

    async def test_jumps_read_the_right_bytes(self) -> None:
        data = os.urandom(self.size)
        found = await self.store.open(await self.stored(data))
        for offset in (2_000_000, 10, 2_999_990, 0, 1_500_000):
            part = await found.read(offset, 300_000)
            self.assertEqual(part, data[offset : offset + 300_000])
        for offset in range(1_000_000, 2_500_000, 100_000):
            part = await found.read(offset, 100_000)
            self.assertEqual(part, data[offset : offset + 100_000])
        await found.close()

    async def test_closing_early_is_fine(self) -> None:
        found = await self.store.open(await self.stored(os.urandom(self.size)))
        await found.read(0, 1000)
        await found.close()
        await found.close()
        with self.assertRaises(ValueError):
            await found.read(0, 1)

    async def test_what_was_written_can_be_read_before_it_is_sealed(self) -> None:
        writer = await self.store.create()
        await writer.write(b"early ")
        reader = await writer.open_written()
        await writer.write(b"bytes")
        await writer.spill()
        self.assertEqual(await reader.read(0, 100), b"early bytes")
        await writer.discard()
        self.assertEqual(await reader.read(6, 5), b"bytes")
        await reader.close()


class SpoolSpaceTests(S3Case):
    """R82: uploads are gathered on a disk of ours."""

    def make_datastore(self) -> Datastore:
        store = super().make_datastore()
        path = self.s3.options.temp_path
        clock = Clock(reactor)  # type: ignore[arg-type]
        disk = SmallDisk(1_000_000)
        self.s3.space = FreeSpace(store.id, path, disk, clock, lambda: 0)
        return store

    async def test_an_announced_length_is_refused_at_once(self) -> None:
        with self.assertRaises(DatastoreFull):
            await self.store.create(1_000_001)

    async def test_a_probe_notices(self) -> None:
        """R97: a full disk, then a bucket that is gone."""
        await self.store.probe()
        clock = Clock(reactor)  # type: ignore[arg-type]
        path = self.s3.options.temp_path
        full = FreeSpace(self.store.id, path, SmallDisk(9), clock, lambda: 10)
        patch = self.patch(self.s3, "space", full)
        with self.assertRaises(DatastoreFull):
            await self.store.probe()
        patch.restore()
        self.raw.delete_bucket(Bucket=self.bucket)
        with self.assertRaises(DatastoreError):
            await self.store.probe()

    async def test_what_an_upload_that_failed_gave_back_counts_at_once(self) -> None:
        writer = await self.store.create(900_000)
        await writer.write(b"x" * 900_000)
        await writer.discard()
        await self.store.create(900_000)
