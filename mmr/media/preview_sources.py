"""What a URL shows: asks oEmbed, reads the page, or names the file (§7.3)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Protocol

import attrs

from mmr.config import DomainConfig
from mmr.config.url_previews import UrlPreviewsConfig
from mmr.federation.header_values import file_name
from mmr.http.guard import GuardedResponse
from mmr.media.preview_fetch import (
    Cause,
    PreviewFailed,
    PreviewSession,
    read_start,
    read_whole,
)
from mmr.media.preview_images import FetchedImage, image_limit, image_types
from mmr.previews.model import MAX_IMAGES, PageResult, Preview, PreviewOptions
from mmr.previews.oembed import MAX_ANSWER_BYTES, Providers
from mmr.previews.page import MAX_PARSED_BYTES
from mmr.previews.text import shorten
from mmr.thumbnailing.sniff import plain_type

logger = logging.getLogger(__name__)

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_NO_LIMIT = 1 << 40
# A body is cut at the limit by us; only what comes in one piece past it is an error.
_SLACK = 1 << 20


class Parser(Protocol):
    """Reads what strangers wrote, in a worker process (R23)."""

    async def parse(
        self, html: bytes, content_type: str, url: str, options: PreviewOptions
    ) -> PageResult:
        """The preview of a page."""
        ...

    async def parse_oembed(
        self, answer: bytes, url: str, provider_name: str, options: PreviewOptions
    ) -> Preview | None:
        """The preview of a provider's answer."""
        ...


@attrs.frozen
class Found:
    """What is to be shown.

    Attributes:
        kind: For the metric: ``oembed``, ``opengraph`` or ``calculated``.
        image: The URL itself, when it is a picture.
    """

    preview: Preview
    kind: str
    image: FetchedImage | None = None


class PreviewSources:
    """Tries the ways to a preview, in order.

    Args:
        parser: Reads pages and answers.
        providers: Gives the oEmbed providers; asked only where they are wanted.
    """

    def __init__(
        self, parser: Parser, providers: Callable[[], Awaitable[Providers]]
    ) -> None:
        self._parser = parser
        self._providers = providers

    async def find(
        self, session: PreviewSession, domain: DomainConfig, url: str
    ) -> Found:
        """What a URL shows.

        Raises:
            PreviewFailed: nothing, or nothing that we show.
            MatrixError: 503, when too much runs and waits.
        """
        settings = domain.url_previews
        if settings.o_embed:
            preview = await self._from_provider(session, settings, url)
            if preview is not None:
                return Found(preview, "oembed")
        limit = settings.max_page_size_bytes or _NO_LIMIT
        response = await session.get(url, max_bytes=limit + _SLACK, expands=True)
        async with response:
            if (response.length or 0) > limit:
                raise PreviewFailed(Cause.LASTING, f"{response.length} bytes")
            if _type_of(response) in _PAGE_TYPES:
                return await self._from_page(session, settings, response, limit)
            return await _from_file(domain, response, url)

    async def _from_provider(
        self, session: PreviewSession, settings: UrlPreviewsConfig, url: str
    ) -> Preview | None:
        providers = await self._providers()
        endpoint = providers.endpoint_for(url)
        if endpoint is None:
            return None
        name = providers.name_for(url)
        return await self._ask(session, settings, endpoint, url, name)

    async def _ask(
        self,
        session: PreviewSession,
        settings: UrlPreviewsConfig,
        endpoint: str,
        url: str,
        provider_name: str,
    ) -> Preview | None:
        """A provider's answer; None when it is of no use: then the page is."""
        try:
            response = await session.get(endpoint, max_bytes=MAX_ANSWER_BYTES)
            async with response:
                if "json" not in _type_of(response):
                    return None
                answer = await read_whole(response, MAX_ANSWER_BYTES)
        except PreviewFailed as failure:
            logger.info("An oEmbed provider gave no answer: %s", failure)
            return None
        return await self._parser.parse_oembed(
            answer, url, provider_name, options_of(settings)
        )

    async def _from_page(
        self,
        session: PreviewSession,
        settings: UrlPreviewsConfig,
        response: GuardedResponse,
        limit: int,
    ) -> Found:
        html = await read_start(response, min(limit, MAX_PARSED_BYTES))
        url, content_type = str(response.url), response.header("content-type") or ""
        result = await self._parser.parse(html, content_type, url, options_of(settings))
        page, more = result.preview, None
        if settings.o_embed and result.oembed_url is not None:
            more = await self._ask(session, settings, result.oembed_url, url, "")
        if more is not None:
            return Found(_combined(more, page), "oembed")
        return Found(page, "opengraph" if result.has_open_graph else "calculated")


def options_of(settings: UrlPreviewsConfig) -> PreviewOptions:
    """The operator's settings, as the parser takes them."""
    return PreviewOptions(
        settings.num_words,
        settings.max_length,
        settings.num_title_words,
        settings.max_title_length,
    )


async def _from_file(
    domain: DomainConfig, response: GuardedResponse, url: str
) -> Found:
    """Any other file that the operator wants previewed: its name, and what it is."""
    settings, content_type = domain.url_previews, _type_of(response)
    # One match is enough (D47).
    if not any(
        fnmatchcase(content_type, pattern.strip().lower())
        for pattern in settings.file_preview_types
    ):
        raise PreviewFailed(Cause.LASTING, f"type {content_type[:100]!r}")
    name = file_name(response.header("content-disposition"))
    preview = Preview(
        url=url,
        title=shorten(name or url, settings.num_title_words, settings.max_title_length),
    )
    if content_type not in image_types(domain):
        description = _describe(content_type, response.length)
        return Found(attrs.evolve(preview, description=description), "calculated")
    try:
        data = await read_whole(response, image_limit(domain))
    except PreviewFailed as failure:
        if failure.cause is Cause.PASSING:
            raise
        return Found(preview, "calculated")
    return Found(preview, "calculated", FetchedImage(data, content_type, name))


def _describe(content_type: str, length: int | None) -> str:
    if length is None:
        return shorten(content_type, 1, 100)
    size, unit = float(length), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{shorten(content_type, 1, 100)}, {size:.3g} {unit}"


def _combined(first: Preview, second: Preview) -> Preview:
    """What the first says, and what only the second knows."""
    images = dict.fromkeys((*first.images, *second.images))
    return Preview(
        url=first.url,
        site_name=first.site_name or second.site_name,
        resource_type=first.resource_type or second.resource_type,
        title=first.title or second.title,
        description=first.description or second.description,
        images=tuple(images)[:MAX_IMAGES],
    )


def _type_of(response: GuardedResponse) -> str:
    return plain_type(response.header("content-type") or "")
