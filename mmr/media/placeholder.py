"""The picture that stands for quarantined media."""

from __future__ import annotations

import logging
from pathlib import Path

from mmr.config.behaviour import QuarantineConfig
from mmr.thumbnailing.quarantine_image import quarantine_image
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)


class Placeholder:
    """Draws the picture, or the operator's own, off the reactor thread."""

    def __init__(self, files: Runner) -> None:
        self._files = files

    async def draw(
        self, quarantine: QuarantineConfig, width: int, height: int
    ) -> bytes:
        """A PNG of that size in pixels. A picture that can't be read is left out."""
        path = quarantine.thumbnail_path
        try:
            return await self._files.run(
                quarantine_image, width, height, Path(path) if path else None
            )
        except OSError as error:
            logger.error(
                "quarantine.thumbnailPath: %s can't be read, so a picture of our own is"
                " shown: %s",
                path,
                error,
            )
        return await self._files.run(quarantine_image, width, height)
