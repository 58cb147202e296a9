"""Contents that a file datastore has taken, to be hashed and stored together."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mmr.datastores.base import DatastoreError
from mmr.datastores.file_batch import FEW, BatchFailed, FileBatch
from mmr.datastores.file_hand import FileHand, HandLost, InHand
from mmr.datastores.filesystem import FileSystem, datastore_error
from mmr.datastores.folders import Folders, temporary_name
from mmr.errors import MatrixError
from mmr.util.memory_file import Payload, bytes_of

if TYPE_CHECKING:
    from mmr.datastores.file import FileDatastore

logger = logging.getLogger(__name__)

Names = Sequence[tuple[str, str] | None]
"""Temporary name and location of each content; None: it isn't stored."""


class _Contents(Protocol):
    """Where the contents are meanwhile. Blocks: for pool threads."""

    @property
    def hashes(self) -> list[str]: ...

    def put(self, base: str, names: Names) -> None:
        """See `InHand.put`."""
        ...

    def close(self) -> None: ...


class TakenFiles:
    """See `mmr.datastores.base.Taken`.

    Args:
        hand: Does the work; None: a pool thread does. So it does for few.
    """

    def __init__(
        self,
        store: FileDatastore,
        contents: Sequence[Payload],
        hand: FileHand | None,
    ) -> None:
        """Hash them. Blocks.

        Raises:
            DatastoreError: the hand was lost.
        """
        self._store = store
        self._sizes = [len(data) for data in contents]
        self._contents: _Contents = self._take(contents, hand)

    def _take(self, contents: Sequence[Payload], hand: FileHand | None) -> _Contents:
        if hand is not None and len(contents) > FEW:
            try:
                return InHand(hand, contents)
            except HandLost as error:
                raise self._lost() from error
            except (OSError, MatrixError) as error:
                logger.warning("Small files are stored without a process: %s", error)
        return _Here(self._store.fs, self._store.folders, contents)

    @property
    def hashes(self) -> list[str]:
        """See `Taken.hashes`."""
        return self._contents.hashes

    async def put(self, locations: Sequence[str | None]) -> None:
        """See `Taken.put`."""
        await self._store.in_turn(self._put, locations)

    def close(self) -> None:
        """See `Taken.close`."""
        self._contents.close()

    def _put(self, locations: Sequence[str | None]) -> None:
        names = [
            None if each is None else (temporary_name(), each) for each in locations
        ]
        folders, unfinished = self._store.folders, self._store.unfinished
        paths = [os.path.join(folders.temporary, each[0]) for each in names if each]
        # Before they are there: the sweep asks for ours by name.
        unfinished.update(paths)
        try:
            self._store.space.take(
                sum(size for size, each in zip(self._sizes, names, strict=True) if each)
            )
            self._contents.put(folders.base, names)
        except OSError as error:
            raise self._failed("write below", error) from error
        except BatchFailed as failed:
            raise self._failed(failed.action, failed.error) from failed
        except HandLost as error:
            raise self._lost() from error
        finally:
            unfinished.difference_update(paths)

    def _lost(self) -> DatastoreError:
        return DatastoreError(
            f"datastore {self._store.id!r}: the process that stores its files was "
            "lost. The line above says how; if it was killed, memory may be short: see "
            "the kernel's log (dmesg)."
        )

    def _failed(self, action: str, error: OSError) -> Exception:
        return datastore_error(error, self._store.id, action, self._store.folders.base)


class _Here:
    """Contents in our own memory."""

    def __init__(
        self, fs: FileSystem, folders: Folders, contents: Sequence[Payload]
    ) -> None:
        self._fs = fs
        self._folders = folders
        self._contents = [bytes_of(content) for content in contents]
        self.hashes = [hashlib.sha256(data).hexdigest() for data in self._contents]

    def put(self, base: str, names: Names) -> None:
        objects = [
            (*each, data)
            for each, data in zip(names, self._contents, strict=True)
            if each is not None
        ]
        FileBatch(self._fs, self._folders, objects).put()

    def close(self) -> None:
        """Nothing to let go."""
