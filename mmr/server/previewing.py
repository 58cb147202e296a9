"""URL previews: their clients, their workers and their pipeline."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cached_property
from pathlib import Path

from mmr.media.preview_expiry import PreviewExpiry
from mmr.media.preview_fetch import PreviewClients
from mmr.media.preview_images import PreviewImages
from mmr.media.preview_keep import PreviewKeeper
from mmr.media.preview_sources import PreviewSources
from mmr.media.previews import Previews
from mmr.previews.oembed import Providers
from mmr.previews.pool import PreviewParser
from mmr.server.pipelines import Pipelines

logger = logging.getLogger(__name__)

_MAX_WAITING_PAGES = 200


class Previewing(Pipelines):
    """What previews are made with.

    Attributes:
        assets: Folder whose ``providers.json``, if there is one, takes the place of the
            bundled list of oEmbed providers (MMR's ``-assets``).
    """

    assets: Path | None = None
    _providers: Providers | None = None

    @cached_property
    def preview_parser(self) -> PreviewParser:
        workers = min(self.config.url_previews.num_workers, os.cpu_count() or 1)
        return PreviewParser(
            workers, _MAX_WAITING_PAGES, self.reactor, Path(tempfile.gettempdir())
        )

    @cached_property
    def previews(self) -> Previews:
        return Previews(
            store=self.stores.previews,
            clients=PreviewClients(self.reactor, self.clock, self.resolver),
            sources=PreviewSources(self.preview_parser, self._oembed_providers),
            images=PreviewImages(self.thumbnail_pool, self.ids),
            keeper=PreviewKeeper(
                store=self.stores.previews,
                media=self.stores.media,
                datastores=self.datastores,
                committer=self.committer,
                ids=self.ids,
                clock=self.clock,
                freeze=self._freeze,
                scanning=self.scanning,
            ),
            clock=self.clock,
            max_running=lambda: self.config.url_previews.num_workers,
        )

    @cached_property
    def preview_expiry(self) -> PreviewExpiry:
        return PreviewExpiry(
            self.stores.previews,
            self.media_records,
            self.clock,
            lambda: self.config.url_previews.expire_after_days,
        )

    async def _oembed_providers(self) -> Providers:
        if self._providers is None:
            self._providers = await self.files.run(_read_providers, self.assets)
        return self._providers


def _read_providers(assets: Path | None) -> Providers:
    """In a thread."""
    own = assets / "providers.json" if assets is not None else None
    if own is None or not own.exists():
        return Providers.bundled()
    try:
        return Providers.load(own.read_bytes())
    except (OSError, ValueError) as error:
        logger.error("%s can't be used, the bundled list is: %s", own, error)
        return Providers.bundled()
