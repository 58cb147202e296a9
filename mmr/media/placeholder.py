"""The picture that stands for quarantined media."""

from __future__ import annotations

from pathlib import Path

from mmr.config.behaviour import QuarantineConfig
from mmr.thumbnailing.quarantine_image import quarantine_image
from mmr.util.threads import Runner


class Placeholder:
    """Draws the picture, or the operator's own, off the reactor thread."""

    def __init__(self, files: Runner) -> None:
        self._files = files

    async def draw(
        self, quarantine: QuarantineConfig, width: int, height: int
    ) -> bytes:
        """A PNG of that size in pixels."""
        path = quarantine.thumbnail_path
        return await self._files.run(
            quarantine_image, width, height, Path(path) if path else None
        )
