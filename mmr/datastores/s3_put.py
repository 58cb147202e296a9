"""Putting an object into S3 so that it is there, whole, or not at all (R98)."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from mmr.datastores.s3_client import S3Client
from mmr.datastores.s3_errors import S3_ERRORS, code_of, is_missing
from mmr.datastores.s3_spool import Body
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
"""A larger object is put in parts of this size. Of 10,000 parts at most: 160 GB."""
_PARTS_AT_ONCE = 4
_READ_BYTES = 1024 * 1024


class AlreadyThere(Exception):
    """Something is at the key. It stays."""


class NotConfirmed(Exception):
    """S3 took the put, but then had something else at the key, or nothing."""


class Put:
    """One object on its way. Used once.

    Args:
        headers: More parameters of the request, such as the storage class.
    """

    def __init__(
        self,
        client: S3Client,
        pool: Runner,
        key: str,
        body: Body,
        headers: Mapping[str, str],
    ) -> None:
        self._client = client
        self._pool = pool
        self._target = {"Bucket": client.options.bucket, "Key": key}
        self._body = body
        self._headers = headers
        self._is_over = False
        # Set when nobody waits any more: an object that still arrives is deleted.
        self.unwanted = False

    async def run(self, unfinished: set[str]) -> None:
        """Do it.

        Args:
            unfinished: Holds the multipart upload's id while it runs.

        Raises:
            AlreadyThere, NotConfirmed: see there.
            BotoCoreError, ClientError: what boto3 raises.
        """
        if self._body.size > PART_BYTES and self._client.options.multipart:
            await self._put_in_parts(unfinished)
        else:
            await self._pool.run(self._put_at_once)

    # In parts: every part is a job of its own.

    async def _put_in_parts(self, unfinished: set[str]) -> None:
        upload_id = await self._pool.run(self._begin)
        unfinished.add(upload_id)
        try:
            starts = iter(range(0, self._body.size, PART_BYTES))
            parts: list[dict[str, Any]] = []
            workers = [
                Deferred.fromCoroutine(self._put_parts(upload_id, starts, parts))
                for _ in range(_PARTS_AT_ONCE)
            ]
            # All of them: a part that comes after the abort would stay.
            results: Any = await DeferredList(workers, consumeErrors=True)
            for success, failure in results:
                if not success:
                    failure.raiseException()
            await self._pool.run(self._complete, upload_id, parts)
        except BaseException:
            Deferred.fromCoroutine(self._abort(upload_id))
            raise
        finally:
            unfinished.discard(upload_id)

    async def _put_parts(
        self, upload_id: str, starts: Iterator[int], parts: list[dict[str, Any]]
    ) -> None:
        for start in starts:
            if self._is_over:
                return
            try:
                parts.append(await self._pool.run(self._put_part, upload_id, start))
            except BaseException:
                self._is_over = True
                raise

    async def _abort(self, upload_id: str) -> None:
        try:
            await self._pool.run(
                self._client.api.abort_multipart_upload,
                **self._target,
                UploadId=upload_id,
            )
        except Exception as error:
            logger.warning(
                "The multipart upload of %s could not be aborted (%s); the sweep will "
                "try again.",
                self._target["Key"],
                error,
            )

    # What follows runs in a pool thread.

    def _put_at_once(self) -> None:
        condition = {}
        if self._client.habits.conditional_puts:
            condition["IfNoneMatch"] = "*"
        else:
            self._require_nothing()
        try:
            self._client.api.put_object(
                **self._target,
                **self._headers,
                **condition,
                **self._checksum(0, self._body.size),
                Body=self._body.part(0, self._body.size),
            )
        except S3_ERRORS as error:
            if code_of(error) == "PreconditionFailed":
                raise AlreadyThere(self._target["Key"]) from error
            raise
        self._confirm()

    def _begin(self) -> str:
        self._require_nothing()
        answer = self._client.api.create_multipart_upload(
            **self._target, **self._headers
        )
        return str(answer["UploadId"])

    def _put_part(self, upload_id: str, start: int) -> dict[str, Any]:
        length = min(PART_BYTES, self._body.size - start)
        number = start // PART_BYTES + 1
        answer = self._client.api.upload_part(
            **self._target,
            **self._checksum(start, length),
            UploadId=upload_id,
            PartNumber=number,
            Body=self._body.part(start, length),
        )
        checksums = {key: answer[key] for key in answer if key.startswith("Checksum")}
        checksums.pop("ChecksumType", None)
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def _complete(self, upload_id: str, parts: list[dict[str, Any]]) -> None:
        parts.sort(key=lambda part: int(part["PartNumber"]))
        self._client.api.complete_multipart_upload(
            **self._target, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
        self._confirm()

    def _checksum(self, start: int, length: int) -> dict[str, str]:
        """What S3 compares the bytes with, unless the client sends it behind them."""
        if self._client.habits.trailers or self._client.signs_bodies:
            return {}
        digest = hashlib.md5(usedforsecurity=False)
        for offset in range(start, start + length, _READ_BYTES):
            count = min(_READ_BYTES, start + length - offset)
            piece = self._body.part(offset, count)
            digest.update(piece if isinstance(piece, bytes) else piece.read())
        return {"ContentMD5": base64.b64encode(digest.digest()).decode("ascii")}

    def _require_nothing(self) -> None:
        if self._size_there() is not None:
            raise AlreadyThere(self._target["Key"])

    def _confirm(self) -> None:
        size = self._size_there()
        if size != self._body.size:
            raise NotConfirmed(
                f"{self._target['Key']} has {size} bytes, not {self._body.size}"
            )
        if self.unwanted:
            self._client.api.delete_object(**self._target)

    def _size_there(self) -> int | None:
        try:
            return int(self._client.api.head_object(**self._target)["ContentLength"])
        except S3_ERRORS as error:
            if is_missing(error):
                return None
            raise
