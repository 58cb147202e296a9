"""Reading an object of S3, at the reader's pace."""

from __future__ import annotations

import random
import time
from typing import Any

import attrs

from twisted.internet.defer import Deferred, DeferredLock

from mmr.datastores.base import DatastoreError
from mmr.datastores.s3_client import S3Client
from mmr.datastores.s3_errors import S3_ERRORS, is_passing, s3_error
from mmr.util.shield import shield
from mmr.util.threads import Runner

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
# After a jump nobody knows how much is wanted: each request for more is larger.
_FIRST_WINDOW = 1024 * 1024
_LAST_WINDOW = 64 * 1024 * 1024
_GROWTH = 4


class _Cut(Exception):
    """The answer ended early, or wasn't the part that was asked for."""


class S3Stream:
    """An object's bytes. Blocks; one thread at a time.

    The first answer is the whole object. A jump elsewhere, and every resumption after
    a failure, is a ranged request, bound to the same version by its ETag: so what is
    read is right or cut, never a mixture (R98).
    """

    def __init__(self, client: S3Client, datastore_id: str, key: str) -> None:
        """Send the request. Raises what boto3 raises."""
        self._client = client
        self._datastore_id = datastore_id
        self._key = key
        self._window = _FIRST_WINDOW
        answer = client.api.get_object(Bucket=client.options.bucket, Key=key)
        self.size: int = answer["ContentLength"]
        self._etag: str = answer.get("ETag", "")
        self._body: Any = answer["Body"]
        self._position = 0
        self._end = self.size

    def read(self, offset: int, length: int) -> bytes:
        """Read so many bytes, or to the end.

        Raises:
            DatastoreError: when S3 doesn't give them, however often it is asked.
        """
        end = min(offset + length, self.size)
        pieces: list[bytes] = []
        failures = 0
        while offset < end:
            try:
                piece = self._read_some(offset, end - offset)
            except (*S3_ERRORS, _Cut) as error:
                self.close()
                failures += 1
                lasting = not (isinstance(error, _Cut) or is_passing(error))
                if lasting or failures == _ATTEMPTS:
                    raise self._failed(error) from error
                time.sleep(_FIRST_PAUSE_S * 2**failures * random.random())
                continue
            failures = 0
            offset += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Drop the connection, unless it has given all and was put back."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _read_some(self, offset: int, length: int) -> bytes:
        if self._body is None or offset != self._position or offset == self._end:
            self._request(offset, length)
        # Not past the window: the next request begins there.
        piece: bytes = self._body.read(min(length, self._end - offset))
        if not piece:
            raise _Cut(f"the answer ended at byte {offset} of {self.size}")
        self._position += len(piece)
        if self._position == self._end:
            # Takes in the end of the answer, so that the connection can be used again.
            self._body.read(1)
            self.close()
        return piece

    def _request(self, offset: int, length: int) -> None:
        goes_on = offset == self._position and offset == self._end
        self.close()
        grown = min(self._window * _GROWTH, _LAST_WINDOW)
        self._window = grown if goes_on else _FIRST_WINDOW
        end = min(self.size, offset + max(length, self._window))
        answer = self._client.api.get_object(
            Bucket=self._client.options.bucket,
            Key=self._key,
            Range=f"bytes={offset}-{end - 1}",
            **({"IfMatch": self._etag} if self._etag else {}),
        )
        self._body, self._position, self._end = answer["Body"], offset, end
        wanted = f"bytes {offset}-{end - 1}/{self.size}", end - offset
        found = answer.get("ContentRange"), answer["ContentLength"]
        if found != wanted:
            raise _Cut(f"asked for {wanted}, got {found}")

    def _failed(self, error: Exception) -> DatastoreError:
        return s3_error(
            error, self._datastore_id, f"read {self._key}", self._client.options
        )


@attrs.frozen
class _Ahead:
    """A piece that nobody has asked for yet."""

    offset: int
    length: int
    data: Deferred[bytes]

    def drop(self) -> None:
        """Its reader went elsewhere: a failure concerns nobody."""
        self.data.addErrback(lambda _: None)


class S3Object:
    """An open object. While a piece is on its way to a client, the next is fetched.

    No thread waits for a slow client: what isn't asked for stays in the connection.
    """

    def __init__(self, stream: S3Stream, pool: Runner) -> None:
        self.size = stream.size
        self._stream = stream
        self._pool = pool
        # Only one thread may use the stream.
        self._lock = DeferredLock()
        self._ahead: _Ahead | None = None
        self._is_closed = False

    def __del__(self) -> None:
        # A cancelled `open` leaves the object to nobody.
        self._stream.close()

    async def read(self, offset: int, length: int) -> bytes:
        """See `StoredObject.read`."""
        if self._is_closed:
            raise ValueError("the object is closed")
        if offset >= self.size or length <= 0:
            return b""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (ahead.offset, ahead.length) == (offset, length):
            data = await ahead.data
        else:
            if ahead is not None:
                ahead.drop()
            data = await shield(self._fetch(offset, length))
        end = offset + len(data)
        if end < self.size and not self._is_closed:
            self._ahead = _Ahead(end, length, shield(self._fetch(end, length)))
        return data

    def fileno(self) -> int | None:
        """None: there is no file."""
        return None

    async def close(self) -> None:
        """See `StoredObject.close`. A job that still runs closes the stream."""
        self._is_closed = True
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.drop()
        if not self._lock.locked:
            self._stream.close()

    async def _fetch(self, offset: int, length: int) -> bytes:
        await self._lock.acquire()
        try:
            if self._is_closed:
                return b""
            return await self._pool.run(self._stream.read, offset, length)
        finally:
            if self._is_closed:
                self._stream.close()
            self._lock.release()
