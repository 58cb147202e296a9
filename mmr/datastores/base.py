"""What a datastore is: the interface of all providers, and how they fail.

The life of an object (design §6): `Datastore.create` gives a writer; bytes are
written; `ObjectWriter.seal` ends them and gives their hash; the caller names the
object in the database; `ObjectWriter.publish` makes it visible and durable.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mmr.errors import MatrixError
from mmr.types import Kind
from mmr.util.memory_file import Payload

logger = logging.getLogger(__name__)


OCTET_STREAM = "application/octet-stream"


class ObjectMissing(Exception):
    """No object is at the location."""


class BadLocation(ObjectMissing):
    """The location isn't one that we give out, or leads out of the store (R71)."""

    def __init__(self, datastore_id: str, location: str, why: str) -> None:
        super().__init__(
            f"datastore {datastore_id!r}: location {location!r} is refused: {why}. "
            "The record that holds it is wrong."
        )
        logger.error("%s", self)


class DatastoreError(MatrixError):
    """A datastore could not do its work.

    The client gets a sentence without paths (R5); the log, written here and now so
    that no caller can forget it, names the path and the fix (R97).

    Args:
        detail: For the log: what failed where, and what to change.
        message: For the client.
        status: HTTP status.
        level: Of the log line.
    """

    def __init__(
        self,
        detail: str,
        message: str = "The media store failed",
        status: int = 500,
        level: int = logging.ERROR,
    ) -> None:
        super().__init__(status, "M_UNKNOWN", message)
        self.detail = detail
        logger.log(level, "%s", detail)

    def __str__(self) -> str:
        return self.detail


class DatastoreFull(DatastoreError):
    """No space, or so little that the rest is kept for the system (R82)."""

    def __init__(self, detail: str, level: int = logging.ERROR) -> None:
        super().__init__(detail, "The media store has no space left", 503, level)


class ObjectWriter(Protocol):
    """A new object on its way in. One call at a time; `discard` at any time.

    Every method but `discard` raises `DatastoreError`; what was written is then gone
    already, and the writer is of no more use (R92, R97).
    """

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        ...

    @property
    def location(self) -> str | None:
        """Where `publish` has to put it; None: wherever the caller says."""
        ...

    async def write(self, data: bytes) -> None:
        """Add bytes. Waiting for the result is the back-pressure."""
        ...

    async def spill(self) -> None:
        """Have everything taken in so far readable by `open_written`'s object."""
        ...

    async def open_written(self) -> StoredObject:
        """Open what is written so far. It grows, and outlives the writer.

        Its ``size`` means nothing yet.
        """
        ...

    async def seal(self) -> str:
        """End the content and give its SHA-256 in hex.

        The bytes are flushed to disk now or by `publish`, before they become visible.
        """
        ...

    async def publish(self, location: str) -> None:
        """Make the sealed object visible. Durable when this returns (R91).

        Raises:
            DatastoreError: also when an object is there already; it stays.
        """
        ...

    async def discard(self) -> None:
        """Give up what isn't published. Does nothing the second time."""
        ...


class StoredObject(Protocol):
    """An object opened for reading. It stays readable when it is deleted meanwhile."""

    @property
    def size(self) -> int:
        """Bytes in the store. The caller compares it with the record (R102)."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Read up to ``length`` bytes; fewer only at the end of the object."""
        ...

    def fileno(self) -> int | None:
        """A file descriptor for sendfile, or None when there is none."""
        ...

    async def close(self) -> None:
        """Let go. Does nothing the second time."""
        ...


class Datastore(Protocol):
    """One place for objects."""

    @property
    def id(self) -> str:
        """The operator's name for it, as records hold it."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """What may be stored here. Empty: a cold store, which is only read."""
        ...

    @property
    def is_foreign(self) -> bool:
        """Whether another program owns the objects, and may change or delete them.

        They are only read. No new record shares one of them, and none is deleted.
        """
        ...

    def location_of(self, object_name: str) -> str:
        """The location that an object of this name gets."""
        ...

    async def create(
        self, expected_bytes: int | None = None, content_type: str = OCTET_STREAM
    ) -> ObjectWriter:
        """Start a new object.

        Args:
            expected_bytes: The announced length, so that a lack of space shows early.
            content_type: As the sender says, for stores that keep it.

        Raises:
            DatastoreFull: when the object would not fit.
        """
        ...

    async def open(self, location: str) -> StoredObject:
        """Open an object.

        Raises:
            ObjectMissing: when it isn't there, or the location is a bad one.
            DatastoreError: when the store can't tell.
        """
        ...

    async def delete(self, location: str) -> bool:
        """Delete an object. False: it was not there.

        Raises:
            BadLocation: when the location is a bad one. Nothing is deleted.
            DatastoreError: when the store can't do it now.
        """
        ...

    async def check(self) -> None:
        """Find out at start whether the store can be used.

        Raises:
            StartupError: when the configuration has to be mended first.
            DatastoreFull: when it can be read but takes no more.
        """
        ...

    async def probe(self) -> None:
        """Find out, by writing a little, whether new objects are taken just now.

        Raises:
            DatastoreError: they aren't.
        """
        ...

    async def sweep_temporary(self, older_than_s: float) -> int:
        """Remove what unfinished writers left. Gives the number removed (R95)."""
        ...


@runtime_checkable
class Redirecting(Protocol):
    """A datastore that clients may be sent to (mmr-http-api §5.4)."""

    @property
    def redirects(self) -> bool:
        """Whether its configuration says so."""
        ...

    @property
    def redirects_when_cached(self) -> bool:
        """Also when the bytes are at hand here."""
        ...

    async def redirect_url(
        self, location: str, content_type: str, disposition: str
    ) -> str:
        """Where clients find the object. Nothing of a request is in it (R7).

        Args:
            content_type: What the answer there says, if we can have it say so.
            disposition: Likewise.

        Raises:
            BadLocation: when the location is a bad one.
            DatastoreError: when no URL can be had now.
        """
        ...


@runtime_checkable
class Public(Protocol):
    """A datastore whose objects may have URLs that nobody checks (R88)."""

    @property
    def is_public(self) -> bool:
        """Whether its configuration says so."""
        ...

    def location_of(self, object_name: str) -> str:
        """See `Datastore.location_of`."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Have the store copy an object; the copy is whole and durable then.

        Raises:
            ObjectMissing: there is no such object.
            DatastoreError: the store can't do it.
        """
        ...


class Taken(Protocol):
    """Contents that a datastore has taken."""

    @property
    def hashes(self) -> list[str]:
        """SHA-256 of each, in hex."""
        ...

    async def put(self, locations: Sequence[str | None]) -> None:
        """Store them, each at its location, and none that has None. All are visible and
        durable when this returns (R91).

        Raises:
            DatastoreError: none may be relied on. Some may be visible; the caller has
                named them and gives them up.
        """
        ...

    def close(self) -> None:
        """Let go of the contents."""
        ...


@runtime_checkable
class TakesMany(Protocol):
    """A datastore that stores many small objects for little more than one."""

    async def take(self, contents: Sequence[Payload]) -> Taken:
        """Hash contents that may become objects. The caller closes what it gets.

        Raises:
            DatastoreError: the store can't do it now.
        """
        ...

    async def rest(self) -> None:
        """Let go of what only `take` needs; the next one gets it again."""
        ...


@runtime_checkable
class GivesMany(Protocol):
    """A datastore that reads many small objects for little more than one."""

    async def read_small(self, locations: Sequence[str]) -> list[bytes | None]:
        """Objects by location, each whole; None for one that has to be opened: it is
        large, or can't be read.
        """
        ...


class MemoryObject:
    """A stored object that was small enough to be read when it was opened."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    async def read(self, offset: int, length: int) -> bytes:
        """See `StoredObject.read`."""
        return self.data[offset : offset + length]

    def fileno(self) -> int | None:
        """None: there is no open file."""
        return None

    async def close(self) -> None:
        """Nothing to let go."""
