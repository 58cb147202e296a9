"""S3 that fails: right bytes, or an error that says what to do (R98, R97)."""

from __future__ import annotations

import base64
import hashlib
import os

import attrs

from twisted.trial.unittest import TestCase

from mmr.datastores import s3_reader
from mmr.datastores.base import DatastoreError, DatastoreFull, ObjectMissing
from mmr.datastores.s3 import S3Datastore
from mmr.datastores.s3_client import Habits
from mmr.datastores.s3_put import Put
from mmr.datastores.s3_spool import Body
from mmr.errors import StartupError

from tests.datastores.faulty_s3 import (
    SLOW_DOWN,
    FaultyS3,
    Handler,
    cuts_put,
    ends_after,
    error,
    ignores_range,
    keeps_checksums,
    loses,
    refuses_checksums,
    reset,
    reset_after,
    silence,
    stall_after,
    status,
)
from tests.datastores.s3_server import (
    IMPATIENT,
    bucket_options,
    new_bucket,
    s3_store,
)

KEY = "0" * 40 + "1idv2fmt"
PASSING = {
    "500": error(500, "InternalError"),
    "503": status(503, SLOW_DOWN),
    "a reset": reset,
    "silence": silence,
}
LASTING = {
    "403": error(403, "AccessDenied"),
    "no bucket": error(404, "NoSuchBucket"),
}


class FaultCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.stub = FaultyS3(self)
        self.patch(s3_reader, "_FIRST_PAUSE_S", 0.01)
        self.store = self.make_store()

    def make_store(self, **options: str) -> S3Datastore:
        opts = bucket_options("media", self.stub.endpoint, **options)
        return s3_store(self, opts, timing=IMPATIENT)

    async def read(self, size: int, piece: int = 256 * 1024) -> bytes:
        """Open and read as a client's download does."""
        found = await self.store.open(KEY)
        try:
            self.assertEqual(found.size, size)
            pieces = []
            offset = 0
            while offset < size:
                pieces.append(await found.read(offset, piece))
                offset += len(pieces[-1])
            return b"".join(pieces)
        finally:
            await found.close()

    async def put(self, data: bytes) -> None:
        writer = await self.store.create(len(data))
        try:
            await writer.write(data)
            await writer.seal()
            await writer.publish(KEY)
        finally:
            await writer.discard()


class ReadFaultTests(FaultCase):
    async def test_passing_faults_of_a_request_are_tried_again(self) -> None:
        self.stub.objects[KEY] = b"the data"
        for name, fault in PASSING.items():
            self.stub.faults["GET"] = [fault]
            self.assertEqual(await self.read(8), b"the data", name)

    async def test_tries_are_bounded(self) -> None:
        self.stub.objects[KEY] = b"the data"
        for name, fault in PASSING.items():
            self.stub.always["GET"] = fault
            before = self.stub.count("GET")
            with self.assertRaises(DatastoreError) as caught:
                await self.store.open(KEY)
            self.assertEqual(caught.exception.status, 503, name)
            self.assertEqual(self.stub.count("GET") - before, IMPATIENT.attempts)

    async def test_a_broken_body_goes_on_where_it_broke(self) -> None:
        data = os.urandom(1_000_000)
        self.stub.objects[KEY] = data
        for fault in (reset_after(300_000), stall_after(600_000), ends_after(400_000)):
            self.stub.faults["GET"] = [fault]
            self.stub.requests.clear()
            self.assertEqual(await self.read(len(data)), data)
            self.assertEqual(self.stub.count("GET"), 2)
        # A reset may take bytes along that have arrived; a proper end doesn't.
        self.assertEqual(self.stub.requests[1][1], "bytes=400000-999999")

    async def test_several_breaks_in_one_body(self) -> None:
        data = os.urandom(2_000_000)
        self.stub.objects[KEY] = data
        self.stub.faults["GET"] = [
            reset_after(300_000),
            error(500, "InternalError"),
            ends_after(400_000),
            reset,
            reset_after(10_000),
        ]
        self.assertEqual(await self.read(len(data)), data)

    async def test_a_small_object_that_breaks_is_read_again(self) -> None:
        self.stub.objects[KEY] = b"x" * 5000
        self.stub.faults["GET"] = [ends_after(100), reset_after(10)]
        self.assertEqual(await self.read(5000), b"x" * 5000)

    async def test_a_body_that_always_breaks_is_cut_never_wrong(self) -> None:
        data = os.urandom(1_000_000)
        self.stub.objects[KEY] = data
        found = await self.store.open(KEY)
        self.assertEqual(await found.read(0, 1000), data[:1000])
        self.stub.always["GET"] = reset
        with self.assertRaises(DatastoreError):
            await found.read(900_000, 1000)
        await found.close()

    async def test_a_whole_object_is_not_taken_for_a_part(self) -> None:
        data = os.urandom(1_000_000)
        self.stub.objects[KEY] = data
        found = await self.store.open(KEY)
        self.stub.always["GET"] = ignores_range
        with self.assertRaises(DatastoreError):
            await found.read(500_000, 1000)
        await found.close()

    async def test_an_object_deleted_on_the_way_ends_the_read(self) -> None:
        data = os.urandom(1_000_000)
        self.stub.objects[KEY] = data
        self.stub.faults["GET"] = [reset_after(300_000)]
        found = await self.store.open(KEY)
        del self.stub.objects[KEY]
        with self.assertRaises(DatastoreError):
            for offset in range(0, len(data), 100_000):
                await found.read(offset, 100_000)
        await found.close()

    async def test_a_missing_object_is_told_from_a_missing_bucket(self) -> None:
        with self.assertRaises(ObjectMissing):
            await self.store.open(KEY)
        for name, fault in LASTING.items():
            self.stub.faults["GET"] = [fault]
            before = self.stub.count("GET")
            with self.assertRaises(DatastoreError) as caught:
                await self.store.open(KEY)
            self.assertEqual(self.stub.count("GET") - before, 1, name)
            self.assertIn("'media'", caught.exception.detail)
            self.assertNotIn("media'", caught.exception.message)


class WriteFaultTests(FaultCase):
    async def test_passing_faults_are_tried_again(self) -> None:
        for name, fault in PASSING.items():
            self.stub.objects.clear()
            self.stub.faults["PUT"] = [fault]
            await self.put(b"some bytes")
            self.assertEqual(self.stub.objects[KEY], b"some bytes", name)

    async def test_lasting_faults_are_not(self) -> None:
        for fault in LASTING.values():
            self.stub.faults["PUT"] = [fault]
            before = self.stub.count("PUT")
            with self.assertRaises(DatastoreError):
                await self.put(b"some bytes")
            self.assertEqual(self.stub.count("PUT") - before, 1)
            self.stub.objects.clear()

    async def test_a_put_that_kept_nothing_or_a_part_fails(self) -> None:
        """Size is confirmed after the put."""
        for fault in (loses, cuts_put):
            self.stub.objects.clear()
            self.stub.faults["PUT"] = [fault]
            with self.assertRaises(DatastoreError):
                await self.put(b"some bytes")

    async def test_success_that_carries_an_error_is_an_error(self) -> None:
        body = b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"

        def carries_error(handler: object, _: bytes) -> bool:
            self.stub.objects.pop(KEY, None)
            return status(200, body)(handler, b"")  # type: ignore[arg-type]

        self.stub.always["PUT"] = carries_error
        with self.assertRaises(DatastoreError):
            await self.put(b"some bytes")
        self.assertNotIn(KEY, self.stub.objects)

    async def test_deleting_fails_loudly(self) -> None:
        self.stub.objects[KEY] = b"data"
        self.stub.always["DELETE"] = error(503, "SlowDown")
        with self.assertRaises(DatastoreError):
            await self.store.delete(KEY)

    async def test_a_full_disk_for_temporary_files_is_told(self) -> None:
        """R82."""
        opts = bucket_options("media", self.stub.endpoint)
        self.store = s3_store(self, opts, floor=1 << 60)
        with self.assertRaises(DatastoreFull):
            await self.store.create(10)


class ChecksumTests(FaultCase):
    """After a put, the checksum is confirmed by S3 itself."""

    async def test_over_plain_http_the_signature_covers_the_body(self) -> None:
        signed: list[str | None] = []

        def note(handler: Handler, _: bytes) -> bool:
            signed.append(handler.headers.get("x-amz-content-sha256"))
            return False

        self.stub.always["PUT"] = note
        await self.put(b"some bytes")
        self.assertEqual(signed, [hashlib.sha256(b"some bytes").hexdigest()])

    async def test_under_tls_a_checksum_of_the_body_is_sent(self) -> None:
        client = self.store.client
        body = Body(b"0123456789", None, 10)
        self.patch(client, "options", attrs.evolve(client.options, ssl=True))
        put = Put(client, KEY)
        md5 = base64.b64encode(hashlib.md5(b"2345").digest()).decode()
        self.assertEqual(put.checksum(body, 2, 4), {"ContentMD5": md5})
        client.habits = Habits(trailers=True)
        self.assertEqual(put.checksum(body, 2, 4), {})


class StartTests(FaultCase):
    async def test_a_missing_bucket_stops_the_start_and_names_the_fix(self) -> None:
        opts = bucket_options(new_bucket())
        opts["bucketName"] = "not-there"
        store = s3_store(self, opts)
        with self.assertRaises(StartupError) as caught:
            await store.check()
        text = str(caught.exception)
        for part in ("'bucket'", "'not-there'", opts["endpoint"], "Create the bucket"):
            self.assertIn(part, text)

    async def test_a_cold_store_is_only_read(self) -> None:
        self.store = s3_store(
            self,
            bucket_options("media", self.stub.endpoint),
            kinds=frozenset(),
            timing=IMPATIENT,
        )
        await self.store.check()
        self.assertEqual({method for method, _ in self.stub.requests}, {"GET"})
        self.stub.always["GET"] = error(404, "NoSuchBucket")
        with self.assertRaises(StartupError):
            await self.store.check()

    async def test_nobody_at_the_endpoint(self) -> None:
        opts = bucket_options("media", "127.0.0.1:1")
        store = s3_store(self, opts, timing=IMPATIENT)
        with self.assertRaises(StartupError) as caught:
            await store.check()
        self.assertIn("127.0.0.1:1", str(caught.exception))

    async def test_providers_without_newer_checksums_get_md5_sums(self) -> None:
        for fault in (keeps_checksums, refuses_checksums):
            self.store = self.make_store()
            self.stub.objects.clear()
            self.stub.always["PUT"] = fault
            await self.store.check()
            self.assertFalse(self.store.client.habits.trailers)
            self.assertFalse(self.store.client.habits.conditional_puts)
            self.assertEqual(self.stub.objects, {})
            await self.put(b"some bytes")
            self.assertEqual(self.stub.objects[KEY], b"some bytes")

    async def test_a_provider_without_ranges_is_refused(self) -> None:
        whole = self.stub.always

        def without_ranges(handler: object, body: bytes) -> bool:
            ranged = bool(handler.headers.get("Range"))  # type: ignore[attr-defined]
            return ranged and ignores_range(handler, body)  # type: ignore[arg-type]

        whole["GET"] = without_ranges
        with self.assertRaises(StartupError) as caught:
            await self.store.check()
        self.assertIn("Range", str(caught.exception))
