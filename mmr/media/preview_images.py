"""Pictures of previews: fetched, checked by their bytes, kept as media of their own."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import attrs

from mmr.cluster.ids import IdGenerator
from mmr.config import DomainConfig
from mmr.errors import MatrixError
from mmr.federation.header_values import file_name
from mmr.media.preview_fetch import (
    Cause,
    PreviewFailed,
    PreviewSession,
    read_whole,
)
from mmr.media.thumbnails import render_options
from mmr.previews.model import ImageCandidate
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sniff import plain_type

logger = logging.getLogger(__name__)

_MAX_IMAGE_BYTES = 50 << 20
_SCRIPTABLE = "image/svg+xml"


@attrs.frozen
class FetchedImage:
    """A file that says it is a picture.

    Attributes:
        name: As the site says; empty for none.
    """

    data: bytes = attrs.field(repr=False)
    content_type: str
    name: str


@attrs.frozen
class CheckedImage:
    """A picture, by its bytes.

    Attributes:
        width: Pixels, as a viewer shows it.
        height: The same.
    """

    data: bytes = attrs.field(repr=False)
    content_type: str
    name: str
    width: int
    height: int


def image_types(domain: DomainConfig) -> frozenset[str]:
    """The types that are fetched as pictures (R22): those that get thumbnails."""
    types = {plain_type(each) for each in domain.thumbnails.types}
    return frozenset(
        each for each in types if each.startswith("image/") and each != _SCRIPTABLE
    )


def image_limit(domain: DomainConfig) -> int:
    """The largest picture, in bytes. It is held in memory for a moment."""
    limits = (
        domain.url_previews.max_page_size_bytes,
        domain.thumbnails.max_source_bytes,
        _MAX_IMAGE_BYTES,
    )
    return min(limit for limit in limits if limit > 0)


class PreviewImages:
    """Finds the picture that is shown."""

    def __init__(self, pool: ThumbnailPool, ids: IdGenerator) -> None:
        self._pool = pool
        self._ids = ids

    async def first_good(
        self,
        session: PreviewSession,
        domain: DomainConfig,
        candidates: tuple[ImageCandidate, ...],
    ) -> CheckedImage | None:
        """The first that can be fetched and is a picture; None is no failure."""
        for candidate in candidates:
            if session.requests_left == 0:
                break
            try:
                fetched = await self._fetch(session, domain, candidate.url)
            except (PreviewFailed, MatrixError) as error:
                logger.info("A preview's picture can't be fetched: %s", error)
                continue
            checked = await self.check(domain, fetched)
            if checked is not None:
                return checked
        return None

    async def _fetch(
        self, session: PreviewSession, domain: DomainConfig, url: str
    ) -> FetchedImage:
        limit = image_limit(domain)
        async with await session.get(url, max_bytes=limit) as response:
            content_type = plain_type(response.header("content-type") or "")
            if content_type not in image_types(domain):
                raise PreviewFailed(Cause.LASTING, f"type {content_type[:100]!r}")
            name = file_name(response.header("content-disposition"))
            return FetchedImage(await read_whole(response, limit), content_type, name)

    async def check(
        self, domain: DomainConfig, fetched: FetchedImage
    ) -> CheckedImage | None:
        """Look inside, in a worker; None when it isn't a picture that we draw."""
        options = render_options(domain.thumbnails)
        options = attrs.evolve(options, allowed_types=image_types(domain))
        file = os.memfd_create("mmr-preview")
        try:
            os.write(file, fetched.data)
            info = await self._pool.probe(
                Path(f"/proc/self/fd/{file}"),
                fetched.content_type,
                options,
                # Used once: its hash is known only when it is stored.
                key=self._ids.unique_id(),
            )
        except MatrixError as error:
            logger.info("A preview's picture can't be shown: %s", error)
            return None
        finally:
            os.close(file)
        return CheckedImage(
            fetched.data, info.content_type, fetched.name, info.width, info.height
        )
