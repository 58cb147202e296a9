"""What every measured server can do."""

from __future__ import annotations

import abc
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import BenchError
from benchmarks.processes import Child, free_port
from benchmarks.wire import Answer, Connection, request_head

REPOSITORY = Path(__file__).resolve().parents[3]
_START_TIMEOUT_S = 90


class Server(abc.ABC):
    """A server on a loopback port with its files in a folder of its own.

    Args:
        folder: An empty folder that disappears after the run.
    """

    name: str
    health_path: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.headers: Mapping[str, str] = {"Host": "localhost"}
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        if self._child is None:
            raise BenchError(f"{self.name} is not running")
        return self._child.pid

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._child = self.launch()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            self._child.ensure_alive()
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} doesn't answer; see {self._child.log}")
            time.sleep(0.1)
        self.sign_in()

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    @abc.abstractmethod
    def launch(self) -> Child:
        """Write the configuration and start the process."""

    @abc.abstractmethod
    def upload(self, body: bytes, content_type: str) -> str:
        """Store a file; gives the key for the paths."""

    @abc.abstractmethod
    def download_path(self, key: str) -> str:
        """Where the file is fetched."""

    @abc.abstractmethod
    def thumbnail_path(self, key: str, size: tuple[int, int] = (320, 240)) -> str:
        """Where its thumbnail of that size is fetched."""

    def sign_in(self) -> None:
        """Set the headers that requests need, once the server runs."""
        return

    def get(self, path: str, extra: Mapping[str, str] | None = None) -> Answer:
        """Fetch one path on a connection of its own."""
        connection = Connection(self.port)
        headers = {**self.headers, **(extra or {})}
        answer = connection.exchange(request_head("GET", path, headers))
        connection.close()
        return answer

    def _answers(self) -> bool:
        try:
            return self.get(self.health_path).status < 500
        except (OSError, BenchError):
            return False


class MatrixServer(Server):
    """A server with the media routes of the client-server API."""

    upload_path = "/_matrix/media/v3/upload"

    def upload(self, body: bytes, content_type: str) -> str:
        """Upload and give `server/media-id`."""
        connection = Connection(self.port)
        headers = {**self.headers, "Content-Type": content_type}
        head = request_head("POST", self.upload_path, headers, len(body))
        answer = connection.exchange(head, body)
        connection.close()
        return media_key(self.name, answer)

    def download_path(self, key: str) -> str:
        """The authenticated download of MSC3916."""
        return f"/_matrix/client/v1/media/download/{key}"

    def thumbnail_path(self, key: str, size: tuple[int, int] = (320, 240)) -> str:
        """The authenticated thumbnail of MSC3916."""
        query = f"width={size[0]}&height={size[1]}&method=scale"
        return f"/_matrix/client/v1/media/thumbnail/{key}?{query}"


def media_key(name: str, answer: Answer) -> str:
    """Read the content URI of an upload."""
    if answer.status != 200:
        text = answer.body.decode(errors="replace")
        raise BenchError(f"{name} refused an upload: {answer.status} {text}")
    return str(json.loads(answer.body)["content_uri"]).removeprefix("mxc://")


def fresh_bytes(count: int) -> bytes:
    """Give bytes that nobody has stored before."""
    return os.urandom(count)
