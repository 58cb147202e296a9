"""What an export is about, how far it is, and where it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from mmr.archives.manifest import MediaEntry
from mmr.storage.export_entries import MediaPlace


@attrs.frozen
class Checkpoint:
    """How far an export is.

    Attributes:
        place: Behind the last media that was looked at.
        done: Media in the archive.
        failed: Media that could not be read.
        damaged: Media in the archive whose bytes aren't what their record says.
        skipped: Quarantined media.
        bytes_done: Of the media in the archive.
    """

    place: MediaPlace = attrs.field(factory=MediaPlace)
    done: int = 0
    failed: int = 0
    damaged: int = 0
    skipped: int = 0
    bytes_done: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Checkpoint:
        """What `attrs.asdict` has made of one."""
        return cls(**{**values, "place": MediaPlace(**values["place"])})

    @property
    def looked_at(self) -> int:
        """Media that were looked at."""
        return self.done + self.failed + self.skipped

    @property
    def complaint(self) -> str:
        """What went wrong, as a sentence; empty when nothing did."""
        parts = []
        if self.failed:
            parts.append(f"{self.failed} files could not be read and are left out")
        if self.damaged:
            parts.append(f"{self.damaged} files are damaged")
        return f"{', and '.join(parts)}; the log names them" if parts else ""


@attrs.frozen(kw_only=True)
class ExportPlan:
    """What to export, and from where on.

    Attributes:
        entity: A user id or a server name.
        created_ts: Nothing younger than that is exported, ms.
        target_bytes: Payload after which a part is closed.
        with_data: False: only the manifest is written, as MMR 1.2 could.
        parts: Finished parts.
        begin: As the last of them left it.
    """

    entity: str
    created_ts: int
    target_bytes: int
    with_data: bool = True
    parts: int = 0
    begin: Checkpoint = attrs.field(factory=Checkpoint)


Tell = Callable[[str, str, str], None]
"""Hears of media that isn't exported as it should be: a word (``quarantined``,
``failed``, ``damaged``), its MXC, why."""


class ExportParts(Protocol):
    """Where the parts go, one after the other."""

    async def begin(self, file_name: str) -> None:
        """Start a part."""
        ...

    async def write(self, data: bytes) -> None:
        """Append to it."""
        ...

    async def note(self, entries: Sequence[MediaEntry]) -> None:
        """List media that are in it."""
        ...

    async def finish(self, checkpoint: Checkpoint) -> None:
        """It is whole: from now on it is a part of the export."""
        ...

    def entries(self) -> AsyncIterator[list[MediaEntry]]:
        """All media listed so far, in order."""
        ...

    async def discard(self) -> None:
        """Give up what isn't finished."""
        ...
