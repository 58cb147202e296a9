"""What is measured. A workload prepares a server once and then drives it in rounds."""

from __future__ import annotations

import abc
import functools
import itertools
import statistics
from collections.abc import Callable, Mapping
from urllib.parse import quote

from benchmarks.errors import BenchError
from benchmarks.load import Load, Plan, drive, repeat_get
from benchmarks.picture import grainy_picture, phone_picture, unseen_copy
from benchmarks.servers.base import Server, fresh_bytes, media_key
from benchmarks.site import Site
from benchmarks.wire import Answer, Connection, request_head

# Enough repetitions for every cache to take the file in.
_WARM_UP_REQUESTS = 50
_UNIQUE_BYTES = 32
_MB = 1_000_000


class Workload(abc.ABC):
    """One kind of request, with the limits that bound a round.

    Args:
        connections: How many clients at once.
        requests: At most so many in a round, whatever the time.
    """

    connections: int
    requests: int = 1_000_000
    # Another workload of our own server to compare with, under this name.
    sibling: tuple[str, Workload] | None = None

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}

    @abc.abstractmethod
    def prepare(self, server: Server) -> None:
        """Put into the server what the rounds need. Not measured."""

    def before(self, server: Server) -> float | None:
        """Do what each round needs first; not measured, but for its own time.

        Returns:
            The median time of an upload in milliseconds, when there were any.
        """
        return None

    @abc.abstractmethod
    def drive(self, server: Server, seconds: float) -> Load:
        """Do one round."""

    def plan(self, seconds: float) -> Plan:
        """The limits of one round."""
        return Plan(self.connections, seconds, self.requests)


class WarmGet(Workload):
    """The same small file again and again, as in a busy room."""

    def __init__(
        self, connections: int, *, thumbnail: bool = False, conditional: bool = False
    ) -> None:
        super().__init__()
        self.connections = connections
        self._thumbnail = thumbnail
        self._conditional = conditional
        self._conditions: dict[str, Mapping[str, str]] = {}
        self._lengths: dict[str, int] = {}

    def prepare(self, server: Server) -> None:
        """Upload, fetch until it is warm, and check the answer."""
        if self._thumbnail:
            path = server.thumbnail_path(server.upload(_picture(), "image/jpeg"))
        else:
            path = server.download_path(server.upload(fresh_bytes(20_000), _OCTETS))
        for _ in range(_WARM_UP_REQUESTS):
            answer = server.get(path)
        condition = {}
        if self._conditional:
            condition["If-None-Match"] = answer.headers.get("etag", '"none"')
            answer = server.get(path, condition)
        _expect(server, answer, 304 if self._conditional else 200)
        self.paths[server.name] = path
        self._conditions[server.name] = condition
        self._lengths[server.name] = answer.length

    def drive(self, server: Server, seconds: float) -> Load:
        """Fetch it as often as possible."""
        headers = {**server.headers, **self._conditions[server.name]}
        path, length = self.paths[server.name], self._lengths[server.name]
        return repeat_get(server.port, path, headers, self.plan(seconds), length)


class BigGet(Workload):
    """A large file, or one megabyte out of its middle.

    Args:
        size: Bytes of the file.
        byte_range: What the Range header asks for, if there is one.
    """

    def __init__(
        self, size: int, connections: int, byte_range: str | None = None
    ) -> None:
        super().__init__()
        self.connections = connections
        self._size = size
        self._range = {"Range": f"bytes={byte_range}"} if byte_range else {}
        self._statuses: dict[str, int] = {}

    def prepare(self, server: Server) -> None:
        """Upload the file and fetch it often enough to be warm."""
        path = server.download_path(server.upload(_blob(self._size), _OCTETS))
        for _ in range(_WARM_UP_REQUESTS if self._size <= _MB else 6):
            answer = server.get(path, self._range)
        # Not every server knows ranges: then the whole file is its honest answer.
        if answer.status not in (200, 206):
            raise BenchError(f"{server.name} answered {answer.status} to {path}")
        self.paths[server.name] = path
        self._statuses[server.name] = answer.status

    def drive(self, server: Server, seconds: float) -> Load:
        """Fetch it and throw the bytes away."""
        headers = {**server.headers, **self._range}
        head = request_head("GET", self.paths[server.name], headers)

        def fetch(connection: Connection, _number: int) -> tuple[Answer, int]:
            answer = connection.exchange(head)
            return answer, answer.length

        status = self._statuses[server.name]
        return drive(server.port, self.plan(seconds), status, fetch)


class RangeGet(BigGet):
    """One megabyte out of a hundred, beside a file that is one megabyte long."""

    def __init__(self) -> None:
        super().__init__(100 * _MB, 1, f"{50 * _MB}-{51 * _MB - 1}")
        self.sibling = ("whole-1m", BigGet(_MB, 1))


class Upload(Workload):
    """Files that nobody has stored before, so that each is really written."""

    def __init__(self, size: int, connections: int, requests: int) -> None:
        super().__init__()
        self.connections = connections
        self.requests = requests
        self._size = size

    def prepare(self, server: Server) -> None:
        """Upload one file, so that files, folders and connections exist."""
        server.upload(fresh_bytes(_UNIQUE_BYTES) + _blob(1000), _OCTETS)

    def drive(self, server: Server, seconds: float) -> Load:
        """Upload as many as possible."""
        headers = {**server.headers, "Content-Type": _OCTETS}
        head = request_head("POST", "/_matrix/media/v3/upload", headers, self._size)
        filler = memoryview(_blob(self._size))[_UNIQUE_BYTES:]
        small = self._size < _MB

        def put(connection: Connection, _number: int) -> tuple[Answer, int]:
            first = head + fresh_bytes(_UNIQUE_BYTES)
            # One packet's worth goes in one call, as a client would send it.
            if small:
                answer = connection.exchange(first + filler)
            else:
                answer = connection.exchange(first, filler)
            media_key(server.name, answer)
            return answer, self._size

        return drive(server.port, self.plan(seconds), 200, put)


class ColdThumbnails(Workload):
    """First thumbnails of phone pictures, each uploaded just before the round.

    Args:
        make: Gives the picture.
    """

    connections = 1
    requests = 8

    def __init__(self, make: Callable[[], bytes]) -> None:
        super().__init__()
        self._picture = make()
        self._waiting: dict[str, list[str]] = {}

    def prepare(self, server: Server) -> None:
        """Make one thumbnail, so that workers and codecs are loaded."""
        key = server.upload(unseen_copy(self._picture), "image/jpeg")
        _expect(server, server.get(server.thumbnail_path(key)), 200)

    def before(self, server: Server) -> float:
        """Upload the pictures and time it: an upload must not wait for thumbnails."""
        connection = Connection(server.port)
        headers = {**server.headers, "Content-Type": "image/jpeg"}
        keys, times_ms = [], []
        for _ in range(self.requests):
            picture = unseen_copy(self._picture)
            head = request_head(
                "POST", "/_matrix/media/v3/upload", headers, len(picture)
            )
            answer = connection.exchange(head, picture)
            times_ms.append(answer.waited_s * 1000)
            keys.append(media_key(server.name, answer))
        connection.close()
        self._waiting[server.name] = [server.thumbnail_path(key) for key in keys]
        return statistics.median(times_ms)

    def drive(self, server: Server, seconds: float) -> Load:
        """Ask for each thumbnail once, one after the other."""
        paths = self._waiting.pop(server.name)

        def fetch(connection: Connection, number: int) -> tuple[Answer, int]:
            answer = connection.exchange(
                request_head("GET", paths[number], server.headers)
            )
            return answer, answer.length

        return drive(server.port, self.plan(max(seconds, 60)), 200, fetch)


class Previews(Workload):
    """Previews of long pages with a picture, each for the first time or from the cache.

    Args:
        cached: Always the same page.
    """

    connections = 8

    def __init__(self, *, cached: bool) -> None:
        super().__init__()
        self._site = Site()
        self._cached = cached
        self._pages = itertools.count()
        if not cached:
            self.requests = 1000

    def prepare(self, server: Server) -> None:
        """Make some, so that the workers are there."""
        for _ in range(_WARM_UP_REQUESTS):
            _expect(server, server.get(self._path()), 200)

    def drive(self, server: Server, seconds: float) -> Load:
        """Ask for as many as possible."""
        if self._cached:
            path, plan = self._path(), self.plan(seconds)
            length = server.get(path).length
            return repeat_get(server.port, path, server.headers, plan, length)

        def fetch(connection: Connection, _number: int) -> tuple[Answer, int]:
            answer = connection.exchange(
                request_head("GET", self._path(), server.headers)
            )
            return answer, answer.length

        return drive(server.port, self.plan(seconds), 200, fetch)

    def _path(self) -> str:
        url = self._site.url("same" if self._cached else str(next(self._pages)))
        return f"/_matrix/client/v1/media/preview_url?url={quote(url, safe='')}"


_OCTETS = "application/octet-stream"


@functools.cache
def _picture() -> bytes:
    return phone_picture()


@functools.cache
def _blob(size: int) -> bytes:
    return fresh_bytes(size)


def _expect(server: Server, answer: Answer, status: int) -> None:
    if answer.status != status:
        text = answer.body[:300].decode(errors="replace")
        raise BenchError(f"{server.name}: {answer.status} instead of {status}: {text}")


def workload(name: str) -> Workload:
    """Make the workload of that name."""
    return _MAKERS[name]()


_MAKERS = {
    "download-20k": lambda: WarmGet(16),
    "download-20k-304": lambda: WarmGet(16, conditional=True),
    "thumbnail-warm": lambda: WarmGet(16, thumbnail=True),
    "thumbnail-cold": lambda: ColdThumbnails(_picture),
    "thumbnail-cold-grainy": lambda: ColdThumbnails(grainy_picture),
    "upload-20k": lambda: Upload(20_000, 16, 10_000),
    "upload-1m": lambda: Upload(_MB, 4, 200),
    "upload-100m": lambda: Upload(100 * _MB, 1, 2),
    "download-100m": lambda: BigGet(100 * _MB, 1),
    "download-100m-c8": lambda: BigGet(100 * _MB, 8),
    "range-1m": RangeGet,
    "previews": lambda: Previews(cached=False),
    "previews-cached": lambda: Previews(cached=True),
}

_WRITES = ("synapse", "synapse-pg")
_READS = ("nginx", *_WRITES)
PEERS = {
    "download-20k": _READS,
    "download-20k-304": _READS,
    "thumbnail-warm": _READS,
    "thumbnail-cold": ("naive", *_WRITES),
    "thumbnail-cold-grainy": ("naive", *_WRITES),
    "upload-20k": _WRITES,
    "upload-1m": _WRITES,
    "upload-100m": _WRITES,
    "download-100m": _READS,
    "download-100m-c8": _READS,
    "range-1m": _READS,
    # Has a module and an origin of its own (`benchmarks.remote`).
    "remote": (),
    # Likewise (`benchmarks.s3`).
    "s3-download-100m": (),
    "s3-upload-100m": (),
    # Likewise (`benchmarks.archives`).
    "archives": (),
    # Likewise (`benchmarks.moves`).
    "moves": (),
    # Likewise (`benchmarks.lookups`).
    "lookup-10m": (),
    # Likewise (`benchmarks.cluster`).
    "two-processes": (),
    "redis-killed": (),
    # Likewise (`benchmarks.admin`), with a table for each kind of call.
    "admin": (),
    # The same (`benchmarks.thumbnails`), with a peer of its own.
    "thumbnails": (),
    "previews": (),
    "previews-cached": (),
}
"""Which peers can do a workload at all."""
