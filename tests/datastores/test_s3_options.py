"""What each option of a bucket does to requests, and to the disk."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from twisted.internet import reactor
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase

from mmr.datastores import s3_parts
from mmr.datastores.base import Datastore
from mmr.datastores.s3 import S3Datastore
from mmr.datastores.s3_options import s3_options
from mmr.errors import StartupError

from tests.datastores.s3_server import (
    IMPATIENT,
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
    s3_store,
)
from tests.datastores.test_s3 import S3Case
from tests.stub_web import StubCa, test_ca

KEY = "0" * 40 + "1idv2fmt"


class SignedUrlTests(TestCase):
    """A signed URL shows whom the client library would ask, and how."""

    async def url(self, endpoint: str = "s3.example.org", **more: str) -> SplitResult:
        bucket = more.pop("bucketName", "media")
        opts = bucket_options(bucket, endpoint, presignedRedirects="true", **more)
        store = s3_store(self, {name: opts[name] for name in opts if opts[name]})
        return urlsplit(await store.redirect_url("ab/cd", "image/png", "inline"))

    async def test_ssl_is_on_unless_it_is_off(self) -> None:
        self.assertEqual((await self.url(ssl="")).scheme, "https")
        self.assertEqual((await self.url(ssl="false")).scheme, "http")

    async def test_the_key_and_the_region_are_in_the_signature(self) -> None:
        for region, signed in (("eu-central-1", "eu-central-1"), ("", "us-east-1")):
            url = await self.url(region=region)
            (credential,) = parse_qs(url.query)["X-Amz-Credential"]
            self.assertRegex(credential, f"^key/[0-9]{{8}}/{signed}/s3/aws4_request$")

    async def test_the_bucket_is_in_the_path_or_in_the_host(self) -> None:
        aws = "s3.eu-central-1.amazonaws.com"
        in_path, in_host = "/media/ab/cd", "/ab/cd"
        for endpoint, addressing, host, path in (
            ("s3.example.org", "", "s3.example.org", in_path),
            ("s3.example.org:9000", "path", "s3.example.org:9000", in_path),
            ("s3.example.org", "virtual", "media.s3.example.org", in_host),
            (aws, "auto", f"media.{aws}", in_host),
            (aws, "path", aws, in_path),
        ):
            url = await self.url(endpoint, addressing=addressing)
            self.assertEqual((url.netloc, url.path), (host, path))
        # No certificate of the endpoint's fits such a host.
        url = await self.url(aws, bucketName="me.dia")
        self.assertEqual((url.netloc, url.path), (aws, "/me.dia/ab/cd"))


class PrefixTests(TestCase):
    def test_a_negative_length_is_none_and_a_long_one_is_warned_of(self) -> None:
        opts = bucket_options("media", "s3.example.org")
        options = s3_options("one", {**opts, "prefixLength": "-3"})
        self.assertEqual(options.location_of(KEY), KEY)
        with self.assertLogs("mmr.datastores.s3_options", "WARNING") as logs:
            options = s3_options("one", {**opts, "prefixLength": "17"})
        self.assertIn("'one': prefixLength is 17", logs.output[0])
        self.assertEqual(options.location_of(KEY), f"{KEY[:17]}/{KEY[17:]}")


class TemporaryPathTests(S3Case):
    def make_datastore(self) -> Datastore:
        self.folder = Path(self.mktemp()).absolute() / "spool"
        self.options = {"tempPath": str(self.folder)}
        return super().make_datastore()

    def open_files(self) -> list[str]:
        """Files of the folder that this process holds: they have no names."""
        found = []
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return [path for path in found if path.startswith(f"{self.folder}/")]

    async def test_large_uploads_are_gathered_there(self) -> None:
        data = os.urandom(700_000)
        writer = await self.sealed(data)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(len(self.open_files()), 1)
        self.assertEqual(list(self.folder.iterdir()), [])
        location = self.new_location()
        await writer.publish(location)
        await writer.discard()
        del writer
        self.assertEqual(await self.read(location), data)
        self.assertEqual(self.open_files(), [])

    async def test_small_ones_touch_no_disk(self) -> None:
        await self.sealed(b"x" * 1000)
        self.assertEqual(self.open_files(), [])

    async def test_a_folder_that_cannot_be_is_told_at_the_start(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.write_text("in the way")
        with self.assertRaisesRegex(StartupError, "opts.tempPath") as caught:
            await self.store.check()
        self.assertIn(str(self.folder), str(caught.exception))


class TlsTests(TestCase):
    """As providers are reached: over TLS, where checksums go behind the bodies."""

    timeout = 60

    def setUp(self) -> None:
        self.ca: StubCa = test_ca()
        self.bucket = new_bucket()
        host, _, port = moto_endpoint().rpartition(":")
        pair = self.ca.issue("127.0.0.1")
        options = CertificateOptions(
            privateKey=pair.privateKey.original,
            certificate=pair.original,
            # What the client library asks for.
            acceptableProtocols=[b"http/1.1"],
        )
        listen: Any = reactor
        front = listen.listenSSL(
            0, ProxyFactory(host, int(port)), options, interface="127.0.0.1"
        )
        self.addCleanup(front.stopListening)
        self.endpoint = f"127.0.0.1:{front.getHost().port}"

    def make(self, **more: str) -> S3Datastore:
        opts = bucket_options(self.bucket, self.endpoint, ssl="true", **more)
        return s3_store(self, opts, timing=IMPATIENT)

    def trust(self) -> None:
        path = Path(self.mktemp())
        self.ca.write(path)
        self.patch(os, "environ", {**os.environ, "AWS_CA_BUNDLE": str(path)})

    async def test_objects_come_back_and_their_checksums_went_with_them(self) -> None:
        self.trust()
        self.patch(s3_parts, "PART_BYTES", 5 * 1024 * 1024)
        store = self.make()
        with self.assertLogs("mmr.datastores.s3_probe", "INFO") as logs:
            await store.check()
        self.assertIn("works: checksums behind the body (CRC), ranges", logs.output[0])
        self.assertTrue(store.client.habits.trailers)
        sent: list[bytes] = []

        def note(request: Any, **_: object) -> None:
            if request.method == "PUT":
                sent.append(bytes(request.headers.get("x-amz-trailer", b"")))

        store.client.api.meta.events.register("before-send.s3", note)
        for number, size in enumerate((0, 10, 300_000, 12_000_000)):
            data = os.urandom(size)
            writer = await store.create(size)
            for start in range(0, size, 1_000_000):
                await writer.write(data[start : start + 1_000_000])
            await writer.seal()
            location = f"{number}{KEY[1:]}"
            await writer.publish(location)
            await writer.discard()
            stored = await store.open(location)
            pieces = b""
            while len(pieces) < size:
                pieces += await stored.read(len(pieces), 1_000_000)
            await stored.close()
            self.assertEqual(pieces, data)
        # Three objects at once, and three parts.
        self.assertEqual(sent, [b"x-amz-checksum-crc32"] * 6)

    async def test_a_provider_without_them_gets_md5_sums(self) -> None:
        self.trust()
        store = self.make(multipartUploads="false")
        sums: list[bytes] = []

        def note(request: Any, **_: object) -> None:
            if request.method == "PUT":
                sums.append(bytes(request.headers["Content-MD5"]))

        store.client.api.meta.events.register("before-send.s3", note)
        writer = await store.create(700_000)
        await writer.write(bytes(700_000))
        await writer.seal()
        await writer.publish(KEY)
        raw: Any = raw_client(moto_endpoint())
        head = raw.head_object(Bucket=self.bucket, Key=KEY)
        self.assertEqual(head["ContentLength"], 700_000)
        digest = hashlib.md5(bytes(700_000), usedforsecurity=False).digest()
        self.assertEqual(sums, [base64.b64encode(digest)])

    async def test_a_stranger_in_the_endpoints_place_is_told_nothing(self) -> None:
        with self.assertRaises(StartupError) as caught:
            await self.make().check()
        for text in (self.endpoint, "certificate", "Check `endpoint`, `ssl`"):
            self.assertIn(text, str(caught.exception))
