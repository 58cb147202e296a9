"""Putting an object into S3 so that it is there, whole, or not at all (R98)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from mmr.datastores.s3_client import S3Client
from mmr.datastores.s3_errors import S3_ERRORS, code_of, is_missing
from mmr.datastores.s3_spool import Body

_READ_BYTES = 1024 * 1024


class AlreadyThere(Exception):
    """Something is at the key. It stays."""


class NotConfirmed(Exception):
    """S3 took the put, but then had something else at the key, or nothing."""


class Put:
    """One object on its way to one key. Everything here blocks, and is run in the pool.

    Args:
        headers: More parameters of the request, such as the storage class.

    Attributes:
        unwanted: Nobody waits any more: an object that still arrives is deleted.
    """

    def __init__(
        self, client: S3Client, key: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.client = client
        self.target = {"Bucket": client.options.bucket, "Key": key}
        self.headers = headers or {}
        self.unwanted = False

    def at_once(self, body: Body) -> None:
        """Put all of it with one request.

        Raises:
            AlreadyThere, NotConfirmed: see there.
            BotoCoreError, ClientError: what boto3 raises.
        """
        condition = {}
        if self.client.habits.conditional_puts:
            condition["IfNoneMatch"] = "*"
        else:
            self.require_nothing()
        try:
            self.client.api.put_object(
                **self.target,
                **self.headers,
                **condition,
                **self.checksum(body, 0, body.size),
                Body=body.part(0, body.size),
            )
        except S3_ERRORS as error:
            if code_of(error) == "PreconditionFailed":
                raise AlreadyThere(self.target["Key"]) from error
            raise
        self.confirm(body.size)

    def begin_parts(self) -> str:
        """Begin a multipart upload; gives its id."""
        self.require_nothing()
        answer = self.client.api.create_multipart_upload(**self.target, **self.headers)
        return str(answer["UploadId"])

    def part(
        self, upload_id: str, number: int, body: Body, start: int, length: int
    ) -> dict[str, Any]:
        """Put a part; gives what the end of the upload has to know of it."""
        answer = self.client.api.upload_part(
            **self.target,
            **self.checksum(body, start, length),
            UploadId=upload_id,
            PartNumber=number,
            Body=body.part(start, length),
        )
        checksums = {key: answer[key] for key in answer if key.startswith("Checksum")}
        checksums.pop("ChecksumType", None)
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def complete(self, upload_id: str, parts: list[dict[str, Any]], size: int) -> None:
        """Make an object of the parts."""
        parts.sort(key=lambda part: int(part["PartNumber"]))
        self.client.api.complete_multipart_upload(
            **self.target, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
        self.confirm(size)

    def abort(self, upload_id: str) -> None:
        """Have S3 forget the parts, unless it has done so."""
        try:
            self.client.api.abort_multipart_upload(**self.target, UploadId=upload_id)
        except S3_ERRORS as error:
            if code_of(error) != "NoSuchUpload":
                raise

    def checksum(self, body: Body, start: int, length: int) -> dict[str, str]:
        """What S3 compares the bytes with, unless the client sends it behind them."""
        if self.client.habits.trailers or self.client.signs_bodies:
            return {}
        digest = hashlib.md5(usedforsecurity=False)
        for offset in range(start, start + length, _READ_BYTES):
            count = min(_READ_BYTES, start + length - offset)
            piece = body.part(offset, count)
            digest.update(piece if isinstance(piece, bytes) else piece.read())
        return {"ContentMD5": base64.b64encode(digest.digest()).decode("ascii")}

    def require_nothing(self) -> None:
        """Raises `AlreadyThere`."""
        if self._size_there() is not None:
            raise AlreadyThere(self.target["Key"])

    def confirm(self, size: int) -> None:
        """Look at what S3 has. Raises `NotConfirmed`."""
        found = self._size_there()
        if found != size:
            raise NotConfirmed(f"{self.target['Key']} has {found} bytes, not {size}")
        if self.unwanted:
            self.client.api.delete_object(**self.target)

    def _size_there(self) -> int | None:
        try:
            return int(self.client.api.head_object(**self.target)["ContentLength"])
        except S3_ERRORS as error:
            if is_missing(error):
                return None
            raise
