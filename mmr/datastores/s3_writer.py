"""A new object on its way into an S3 datastore."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from mmr.datastores import s3_parts
from mmr.datastores.base import DatastoreError, ObjectMissing, StoredObject
from mmr.datastores.filesystem import datastore_error
from mmr.datastores.s3_errors import S3_ERRORS, code_of, s3_error
from mmr.datastores.s3_options import checked_key
from mmr.datastores.s3_parts import Parts
from mmr.datastores.s3_put import AlreadyThere, NotConfirmed, Put
from mmr.datastores.s3_spool import Body, SpooledObject, SpoolFile

if TYPE_CHECKING:
    from mmr.datastores.s3 import S3Datastore

SPILL_BYTES = 256 * 1024
"""Bytes that are gathered in memory before a pool thread writes them."""


class _State(enum.Enum):
    OPEN = "open"
    SEALED = "sealed"
    PUBLISHED = "published"
    GONE = "discarded after a failure or by its owner"


class S3Writer:
    """Gathers the bytes, then puts them when their hash is known.

    An object of less than `SPILL_BYTES` never touches the disk. S3 has no rename: so
    nothing becomes visible before `publish`, when the database has named the object.
    The parts of a large one go out before that.

    Args:
        store: Where it goes.
        headers: More parameters of the put.

    Attributes:
        location: See `ObjectWriter.location`.
    """

    def __init__(self, store: S3Datastore, headers: Mapping[str, str]) -> None:
        self.size = 0
        self.location: str | None = None
        self._headers = headers
        self._parts: Parts | None = None
        self._written = 0
        self._store = store
        self._state = _State.OPEN
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._file: SpoolFile | None = None

    async def write(self, data: bytes) -> None:
        """See `ObjectWriter.write`."""
        self._expect(_State.OPEN)
        self.size += len(data)
        self._pending += data
        if len(self._pending) >= SPILL_BYTES:
            await self._flush()

    async def spill(self) -> None:
        """See `ObjectWriter.spill`."""
        self._expect(_State.OPEN)
        if self._pending or self._file is None:
            await self._flush()

    async def open_written(self) -> StoredObject:
        """See `ObjectWriter.open_written`."""
        await self.spill()
        if self._file is None:
            raise ObjectMissing("the unfinished object was discarded")
        store = self._store
        return SpooledObject(store.id, store.options.temp_path, self._file, store.files)

    async def seal(self) -> str:
        """See `ObjectWriter.seal`."""
        self._expect(_State.OPEN)
        if self._file is not None:
            await self._flush()
        else:
            self._hash.update(self._pending)
        self._state = _State.SEALED
        return self._hash.hexdigest()

    async def publish(self, location: str) -> None:
        """See `ObjectWriter.publish`."""
        self._expect(_State.SEALED)
        store = self._store
        key = checked_key(store.id, location)
        body = Body(bytes(self._pending), self._file, self.size)
        put = Put(store.client, key, self._headers)
        try:
            if self._goes_in_parts:
                await self._put_parts(put, body)
            else:
                await store.pool.run(put.at_once, body)
        except AlreadyThere as error:
            self._clear()
            raise DatastoreError(
                f"datastore {store.id!r}: cannot store {key}: an object is there"
            ) from error
        except NotConfirmed as error:
            self._clear()
            raise DatastoreError(
                f"datastore {store.id!r}: a put did not arrive whole: {error}",
                "The media store failed. Try again.",
                503,
            ) from error
        except S3_ERRORS as error:
            self._clear()
            raise s3_error(error, store.id, f"store {key}", store.options) from error
        except BaseException:
            # An object that still arrives is deleted.
            put.unwanted = True
            self._clear()
            raise
        self._parts = None
        self._clear()
        self._state = _State.PUBLISHED

    async def discard(self) -> None:
        """See `ObjectWriter.discard`. A job that still runs keeps its file."""
        if self._state is not _State.PUBLISHED:
            self._clear()

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise RuntimeError(f"the writer is {self._state.value}, not {state.value}")

    @property
    def _goes_in_parts(self) -> bool:
        return self._store.options.multipart and self.size > s3_parts.PART_BYTES

    async def _put_parts(self, put: Put, body: Body) -> None:
        parts = self._parts
        is_early = parts is not None and put.target["Key"] == self.location
        # S3 may be better now than it was while the object came in. All is here.
        if parts is None or not is_early or parts.has_failed:
            parts = self._begin_parts(put)
        try:
            await parts.finish(body)
        except S3_ERRORS as error:
            if code_of(error) != "NoSuchUpload":
                raise
            # After an hour another process takes it for a dead one's.
            await self._begin_parts(put).finish(body)

    def _begin_parts(self, put: Put) -> Parts:
        self._give_up_parts()
        self._parts = Parts(put, self._store.pool, self._store.unfinished)
        return self._parts

    def _send_ahead(self) -> None:
        """What is in the file may go out, if the object is large enough."""
        new_location = self._store.new_location
        if new_location is None or not self._goes_in_parts:
            return
        if self._parts is None:
            self.location = new_location()
            put = Put(self._store.client, self.location, self._headers)
            self._begin_parts(put)
        assert self._parts is not None
        self._parts.offer(Body(b"", self._file, self._written))

    def _give_up_parts(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            Deferred.fromCoroutine(parts.abort())

    def _clear(self) -> None:
        self._state = _State.GONE
        self._pending = bytearray()
        self._file = None
        self._give_up_parts()

    async def _flush(self) -> None:
        batch, self._pending = self._pending, bytearray()
        try:
            self._file = await self._store.files.run(self._append, self._file, batch)
        except OSError as error:
            self._clear()
            path = self._store.options.temp_path
            raise datastore_error(error, self._store.id, "write to", path) from error
        except DatastoreError:
            self._clear()
            raise
        self._written += len(batch)
        self._send_ahead()

    def _append(self, file: SpoolFile | None, data: bytearray) -> SpoolFile:
        """Runs in a pool thread."""
        file = file or SpoolFile.create(self._store.options.temp_path)
        self._store.space.take(len(data))
        self._hash.update(data)
        file.append(data)
        return file
