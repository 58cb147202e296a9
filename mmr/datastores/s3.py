"""The S3 datastore: a bucket of any provider, in MMR's naming (mmr-storage §4.1)."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from mmr.datastores.base import (
    OCTET_STREAM,
    DatastoreError,
    MemoryObject,
    ObjectMissing,
    ObjectWriter,
    StoredObject,
)
from mmr.datastores.filesystem import FileSystem, datastore_error
from mmr.datastores.free_space import FreeSpace
from mmr.datastores.s3_client import S3Client, Timing
from mmr.datastores.s3_errors import (
    S3_ERRORS,
    code_of,
    describe,
    is_missing,
    s3_error,
)
from mmr.datastores.s3_options import S3Options, checked_key
from mmr.datastores.s3_probe import Unsuitable, check_reading, probe, write_probe
from mmr.datastores.s3_reader import S3Object, S3Stream
from mmr.datastores.s3_writer import S3Writer
from mmr.errors import StartupError
from mmr.http.headers import describe_media
from mmr.metrics import count_s3_operation
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.threads import Runner

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

THREADS = 32
_CONNECTIONS = 128
# An object up to this size is read by the job that opens it.
_SMALL_BYTES = 256 * 1024
_PRESIGNED_SECONDS = 300
# Buckets may be shared with other programs: their uploads are not ours to abort.
_OUR_KEY = re.compile(r"[0-9a-f]{40}[0-9]+idv2fmt\Z")
_NO_LISTING = frozenset({"NotImplemented", "AccessDenied", "MethodNotAllowed"})


class S3Datastore:
    """Objects in one bucket.

    Args:
        id: The operator's name for it.
        kinds: What may be stored; empty for a cold store, which may be read-only.
        options: Where it is and how it is spoken to.
        pool: For what waits for the network.
        files: For what waits for the disk: uploads are gathered in ``tempPath``.
        clock: For ages.
        floor: Bytes that stay free in ``tempPath``, see `FreeSpace`.
        timing: Tests are less patient.
        object_name: Names new objects, so that a large one can go out while the rest
            of it comes in; None: when all of it is there.
    """

    is_foreign = False

    def __init__(
        self,
        id: str,
        kinds: frozenset[Kind],
        options: S3Options,
        pool: Runner,
        files: Runner,
        clock: Clock,
        floor: Callable[[], int],
        timing: Timing | None = None,
        object_name: Callable[[], str] | None = None,
    ) -> None:
        self.id = id
        self.kinds = kinds
        self.options = options
        self.pool = pool
        self.files = files
        self.client = S3Client(options, _CONNECTIONS, timing or Timing())
        self.space = FreeSpace(id, options.temp_path, FileSystem(), clock, floor)
        # Multipart uploads of this process: not the sweep's, whatever the clock says.
        self.unfinished: set[str] = set()
        self._clock = clock
        self._object_name = object_name

    @property
    def new_location(self) -> Callable[[], str] | None:
        """Gives the location of an object that goes out early; None: none may."""
        name = self._object_name
        return None if name is None else lambda: self.location_of(name())

    @property
    def redirects(self) -> bool:
        """See `Redirecting.redirects`."""
        return self.options.presigned or bool(self.options.public_base_url)

    @property
    def is_public(self) -> bool:
        """See `Public.is_public`."""
        return bool(self.options.public_base_url) and not self.options.presigned

    @property
    def redirects_when_cached(self) -> bool:
        """See `Redirecting.redirects_when_cached`."""
        return self.options.redirect_when_cached

    def location_of(self, object_name: str) -> str:
        """See `Datastore.location_of`."""
        return self.options.location_of(object_name)

    async def create(
        self, expected_bytes: int | None = None, content_type: str = OCTET_STREAM
    ) -> ObjectWriter:
        """See `Datastore.create`. Asks the disk at most for its free space."""
        size = expected_bytes or 0
        if not (self.space.is_fresh and self.space.fits(size)):
            try:
                await self.files.run(self._refresh_space)
            except OSError as error:
                path = self.options.temp_path
                raise datastore_error(error, self.id, "use", path) from error
        self.space.require(size)
        return S3Writer(self, self._headers(content_type))

    async def open(self, location: str) -> StoredObject:
        """See `Datastore.open`. One request, which is also the one for the bytes."""
        key = checked_key(self.id, location)
        return await self._run(f"read {key}", self._open, key)

    async def delete(self, location: str) -> bool:
        """See `Datastore.delete`."""
        key = checked_key(self.id, location)
        return await self._run(f"delete {key}", self._delete, key)

    async def copy(self, source: str, target: str) -> None:
        """See `Public.copy`. S3 copies up to 5 GB at once."""
        keys = checked_key(self.id, source), checked_key(self.id, target)
        await self._run(f"copy {source}", self._copy, *keys)

    async def redirect_url(
        self, location: str, content_type: str, disposition: str
    ) -> str:
        """See `Redirecting.redirect_url`."""
        key = checked_key(self.id, location)
        if not self.options.presigned:
            return self.options.public_url(key)
        # In the pool: the machine's role may have to be asked for fresh credentials.
        return await self._run("sign", self._sign, key, content_type, disposition)

    async def check(self) -> None:
        """See `Datastore.check`. Learns the provider's habits."""
        try:
            if not self.kinds:
                await self.pool.run(check_reading, self.client)
                return
            self.client.habits = await self.pool.run(probe, self.client, self.id)
            await self.files.run(self._refresh_space)
        except Unsuitable as error:
            raise self._unusable(str(error)) from error
        except S3_ERRORS as error:
            raise self._unusable(describe(error, self.options)) from error
        except OSError as error:
            raise self._unusable(
                f"its folder {self.options.temp_path} (opts.tempPath) cannot be used: "
                f"{error.strerror}"
            ) from error
        self.space.require(0)

    async def probe(self) -> None:
        """See `Datastore.probe`. Asks the provider and the disk for uploads."""
        await self._run("write a probe", write_probe, self.client)
        # Of no length: the writer is nothing but the question.
        await (await self.create()).discard()

    async def sweep_temporary(self, older_than_s: float) -> int:
        """See `Datastore.sweep_temporary`. Aborts multipart uploads."""
        return await self._run("sweep", self._sweep, older_than_s)

    async def keys(self, after: str = "") -> tuple[list[tuple[str, int]], bool]:
        """Some keys and sizes in order, for the consistency check.

        Args:
            after: Begin behind this key.

        Returns:
            The keys, and whether there are more.
        """
        return await self._run("list", self._keys, after)

    async def size_of(self, location: str) -> int | None:
        """Bytes of an object, or None when it isn't there. Opens nothing."""
        key = checked_key(self.id, location)
        return await self._run(f"look at {key}", self._size_of, key)

    def _headers(self, content_type: str) -> dict[str, str]:
        """What goes with a new object. Where clients get it from the bucket or a CDN,
        nothing but this keeps a browser from running what somebody uploaded (R3).
        """
        sent_type, disposition = describe_media(content_type, None)
        headers = {"ContentType": sent_type, "ContentDisposition": disposition}
        # The default isn't sent: not every provider knows storage classes.
        if self.options.storage_class != "STANDARD":
            headers["StorageClass"] = self.options.storage_class
        return headers

    async def _run(
        self,
        action: str,
        job: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        try:
            return await self.pool.run(job, *args, **kwargs)
        except S3_ERRORS as error:
            raise s3_error(error, self.id, action, self.options) from error

    def _unusable(self, why: str) -> StartupError:
        use = "be used" if self.kinds else "be read"
        return StartupError(f"datastore {self.id!r} cannot {use}: {why}")

    # What follows runs in a pool thread.

    def _refresh_space(self) -> None:
        os.makedirs(self.options.temp_path, 0o700, exist_ok=True)
        self.space.refresh()

    def _open(self, key: str) -> StoredObject:
        try:
            stream = S3Stream(self.client, self.id, key)
        except S3_ERRORS as error:
            if is_missing(error):
                raise ObjectMissing(key) from error
            raise
        if stream.size > _SMALL_BYTES:
            return S3Object(stream, self.pool)
        try:
            return MemoryObject(stream.read(0, stream.size))
        finally:
            stream.close()

    def _delete(self, key: str) -> bool:
        if self._size_of(key) is None:
            return False
        self.client.api.delete_object(Bucket=self.options.bucket, Key=key)
        return True

    def _copy(self, source: str, target: str) -> None:
        size = self._size_of(source)
        if size is None:
            raise ObjectMissing(source)
        bucket, storage_class = self.options.bucket, self.options.storage_class
        self.client.api.copy_object(
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": source},
            **({} if storage_class == "STANDARD" else {"StorageClass": storage_class}),
        )
        found = self._size_of(target)
        if found != size:
            raise DatastoreError(
                f"datastore {self.id!r}: the copy of {source} has {found} bytes, not"
                f" {size}"
            )

    def _size_of(self, key: str) -> int | None:
        try:
            answer = self.client.api.head_object(Bucket=self.options.bucket, Key=key)
        except S3_ERRORS as error:
            if is_missing(error):
                return None
            raise
        return int(answer["ContentLength"])

    def _sign(self, key: str, content_type: str, disposition: str) -> str:
        count_s3_operation("RedirectGetObject")
        url: str = self.client.api.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.options.bucket,
                "Key": key,
                "ResponseContentType": content_type,
                "ResponseContentDisposition": disposition,
                "ResponseCacheControl": "private, max-age=259200",
            },
            ExpiresIn=_PRESIGNED_SECONDS,
        )
        return url

    def _sweep(self, older_than_s: float) -> int:
        now = datetime.datetime.fromtimestamp(
            self._clock.time_ms() / 1000, datetime.UTC
        )
        removed = 0
        for key, upload_id, begun in self._uploads():
            is_ours = _OUR_KEY.match(key.replace("/", ""))
            is_old = (now - begun).total_seconds() > older_than_s
            if is_ours and is_old and upload_id not in self.unfinished:
                self.client.api.abort_multipart_upload(
                    Bucket=self.options.bucket, Key=key, UploadId=upload_id
                )
                removed += 1
        return removed

    def _uploads(self) -> Iterator[tuple[str, str, datetime.datetime]]:
        """Multipart uploads that nobody has completed: key, id, begin."""
        if not (self.kinds and self.options.multipart):
            return
        pages = self.client.api.get_paginator("list_multipart_uploads")
        try:
            for page in pages.paginate(Bucket=self.options.bucket):
                for upload in page.get("Uploads", ()):
                    yield upload["Key"], upload["UploadId"], upload["Initiated"]
        except S3_ERRORS as error:
            if code_of(error) not in _NO_LISTING:
                raise
            logger.warning(
                "datastore %r: unfinished multipart uploads can't be listed (%s). Let "
                "the bucket's life-cycle rules abort them.",
                self.id,
                error,
            )

    def _keys(self, after: str) -> tuple[list[tuple[str, int]], bool]:
        answer = self.client.api.list_objects_v2(
            Bucket=self.options.bucket, StartAfter=after
        )
        found = [(item["Key"], item["Size"]) for item in answer.get("Contents", ())]
        return found, bool(answer["IsTruncated"])
