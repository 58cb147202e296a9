"""The process of `mmr.datastores.file_hand`: ``python -m mmr.datastores.file_worker``.

It understands nothing that a stranger wrote, so it isn't confined.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from typing import Any

from mmr.datastores.file_batch import BatchFailed, FileBatch
from mmr.datastores.file_hand import MAX_FILES, write_words
from mmr.datastores.filesystem import FileSystem
from mmr.datastores.folders import Folders
from mmr.util.confined.channel import Channel

Place = tuple[int, int, int]
"""Number of a file, offset, bytes."""


class Contents:
    """Files in memory; mapped for as long as any of their views is there."""

    def __init__(self, files: list[int]) -> None:
        self._whole = [_mapped(file) for file in files]

    def view(self, place: Place) -> memoryview:
        """The bytes of one content."""
        file, offset, size = place
        return self._whole[file][offset : offset + size]


def _mapped(file: int) -> memoryview:
    # An empty file can't be mapped.
    if not os.fstat(file).st_size:
        return memoryview(b"")
    # Older kernels don't share a sealed one.
    return memoryview(mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))


class Worker:
    """Keeps what is known of each datastore's folders."""

    def __init__(self) -> None:
        self._fs = FileSystem()
        self._folders: dict[str, Folders] = {}

    def do(self, message: dict[str, Any], files: list[int]) -> dict[str, Any]:
        """Do one job.

        Args:
            files: They hold the contents; the first one the words of the job, too.
        """
        words_at = message["words_at"]
        size = os.fstat(files[0]).st_size
        words = json.loads(os.pread(files[0], size - words_at, words_at))
        contents = Contents(files)
        if message["job"] == "put":
            return self._put(message["base"], words, contents)
        hashes = [hashlib.sha256(contents.view(place)).hexdigest() for place in words]
        write_words(files[0], words_at, hashes)
        return {}

    def _put(
        self, base: str, words: list[tuple[str, str, Place]], contents: Contents
    ) -> dict[str, Any]:
        objects = [
            (name, location, contents.view(place)) for name, location, place in words
        ]
        try:
            FileBatch(self._fs, self._folders_of(base), objects).put()
        except BatchFailed as failed:
            error = failed.error
            fault = {"errno": error.errno, "text": error.strerror}
            return {"fault": {**fault, "action": failed.action}}
        return {"fault": None}

    def _folders_of(self, base: str) -> Folders:
        if base not in self._folders:
            self._folders[base] = Folders("", base, self._fs)
        return self._folders[base]


def main() -> None:
    """Answer until the server hangs up, or is gone."""
    channel = Channel.inherited()
    channel.send({"confinement": []})
    worker = Worker()
    while (received := channel.receive(max_files=MAX_FILES)) is not None:
        message, files = received
        channel.send(worker.do(message, files))
        for file in files:
            os.close(file)


if __name__ == "__main__":
    main()
