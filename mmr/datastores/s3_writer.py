"""A new object on its way into an S3 datastore."""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING

from mmr.datastores.base import DatastoreError, ObjectMissing, StoredObject
from mmr.datastores.filesystem import datastore_error
from mmr.datastores.s3_errors import S3_ERRORS, s3_error
from mmr.datastores.s3_options import checked_key
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
    nothing is sent before `publish`, when the database has named the object.
    """

    def __init__(self, store: S3Datastore) -> None:
        self.size = 0
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
        put = Put(store.client, store.pool, key, body, store.put_headers)
        try:
            await put.run(store.unfinished)
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
            put.unwanted = True
            self._clear()
            raise
        self._clear()
        self._state = _State.PUBLISHED

    async def discard(self) -> None:
        """See `ObjectWriter.discard`. A job that still runs keeps its file."""
        if self._state is not _State.PUBLISHED:
            self._clear()

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise RuntimeError(f"the writer is {self._state.value}, not {state.value}")

    def _clear(self) -> None:
        self._state = _State.GONE
        self._pending = bytearray()
        self._file = None

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

    def _append(self, file: SpoolFile | None, data: bytearray) -> SpoolFile:
        """Runs in a pool thread."""
        file = file or SpoolFile.create(self._store.options.temp_path)
        self._store.space.take(len(data))
        self._hash.update(data)
        file.append(data)
        return file
