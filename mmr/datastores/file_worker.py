"""The process of `mmr.datastores.file_hand`: ``python -m mmr.datastores.file_worker``.

It understands nothing that a stranger wrote, so it isn't confined.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mmr.datastores.file_batch import BatchFailed, FileBatch, NewFile
from mmr.datastores.file_hand import write_words
from mmr.datastores.filesystem import FileSystem
from mmr.datastores.folders import Folders
from mmr.util.confined.channel import Channel


class Worker:
    """Keeps what is known of each datastore's folders."""

    def __init__(self) -> None:
        self._fs = FileSystem()
        self._folders: dict[str, Folders] = {}

    def do(self, message: dict[str, Any], fd: int) -> dict[str, Any]:
        """Do one job.

        Args:
            fd: The contents, one after the other, and the words of the job.
        """
        words_at = message["words_at"]
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as whole:
            words = json.loads(whole[words_at:])
            with memoryview(whole) as view:
                if message["job"] == "put":
                    return self._put(message["base"], words, view)
                hashes = _hash(words, view)
        write_words(fd, words_at, hashes)
        return {}

    def _put(
        self, base: str, words: list[tuple[str, str, int, int]], view: memoryview
    ) -> dict[str, Any]:
        with ExitStack() as open_views:
            objects = [
                (name, location, open_views.enter_context(view[at : at + size]))
                for name, location, at, size in words
            ]
            return self._put_objects(base, objects)

    def _put_objects(self, base: str, objects: Sequence[NewFile]) -> dict[str, Any]:
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


def _hash(sizes: list[int], view: memoryview) -> list[str]:
    hashes = []
    at = 0
    for size in sizes:
        with view[at : at + size] as data:
            hashes.append(hashlib.sha256(data).hexdigest())
        at += size
    return hashes


def main() -> None:
    """Answer until the server hangs up, or is gone."""
    channel = Channel.inherited()
    channel.send({"confinement": []})
    worker = Worker()
    while (received := channel.receive(max_files=1)) is not None:
        message, (fd,) = received
        with open(fd, "r+b", buffering=0):
            answer = worker.do(message, fd)
        channel.send(answer)


if __name__ == "__main__":
    main()
