"""Which thumbnail answers which request, before and after a look at the original."""

from __future__ import annotations

import attrs

from mmr.config.thumbnails import ThumbnailsConfig
from mmr.storage.media import MediaRecord
from mmr.storage.thumbnails import ThumbnailKey
from mmr.thumbnailing.model import WEB_TYPES, ImageInfo
from mmr.thumbnailing.sizes import TargetSize, pick_size
from mmr.thumbnailing.sniff import plain_type
from mmr.types import Method

# Labels of what may be animated (matrix-media-spec §5.3).
_MAY_MOVE = frozenset({"image/gif", "image/webp", "image/png"})

# Opaque photos are JPEG, whoever asks: one file, not two.
_NEVER_WEBP = "image/jpeg"


@attrs.frozen(slots=True)
class ThumbnailQuery:
    """One request for a thumbnail, before a size is picked. Sides in pixels.

    Attributes:
        animated: None when the client doesn't say.
        webp: The client takes WebP.
    """

    width: int
    height: int
    method: Method
    animated: bool | None = None
    webp: bool = False


def pick_key(
    thumbnails: ThumbnailsConfig, record: MediaRecord, query: ThumbnailQuery
) -> ThumbnailKey:
    """The thumbnail that answers a query, as far as the record tells."""
    sizes = [(size.width, size.height) for size in thumbnails.sizes]
    target = pick_size(
        sizes,
        query.width,
        query.height,
        query.method,
        dynamic=thumbnails.dynamic_sizing,
    )
    return ThumbnailKey(
        record.origin,
        record.media_id,
        target.width,
        target.height,
        target.method,
        animated=_may_animate(thumbnails, record, query),
        webp=thumbnails.webp
        and query.webp
        and plain_type(record.content_type) != _NEVER_WEBP,
    )


def _may_animate(
    thumbnails: ThumbnailsConfig, record: MediaRecord, query: ThumbnailQuery
) -> bool:
    """Whether an animation is to be tried. The operator's no is final (D28)."""
    wanted = query.animated
    if wanted is None:
        wanted = thumbnails.default_animated
    largest = thumbnails.max_animate_size_bytes
    return (
        wanted
        and thumbnails.allow_animated
        and plain_type(record.content_type) in _MAY_MOVE
        and (largest == 0 or record.size_bytes <= largest)
    )


def target_of(key: ThumbnailKey) -> TargetSize:
    """What the pool is told to make."""
    return TargetSize(key.width, key.height, key.method, key.animated, key.webp)


def surely_drawn(record: MediaRecord, key: ThumbnailKey) -> bool:
    """Whether a look at the original would hardly change what is to be drawn.

    A file with more bytes than the box has pixels is not a picture that fits into it;
    where one does, a drawing was made in vain, and nothing worse.
    """
    is_plain = not (key.animated or key.webp)
    return is_plain and record.size_bytes > key.width * key.height


def shows_itself(info: ImageInfo, key: ThumbnailKey) -> bool:
    """Whether a browser shows the original as it was asked for (D58)."""
    if info.content_type not in WEB_TYPES:
        return False
    return not info.is_animated or (key.animated and info.can_animate)


def made_key(key: ThumbnailKey, info: ImageInfo) -> ThumbnailKey:
    """The plainest request with the same answer: only for that anything is drawn."""
    animated = key.animated and info.can_animate
    is_webp_anyway = animated and info.content_type == "image/webp"
    webp = key.webp and info.content_type != _NEVER_WEBP and not is_webp_anyway
    return attrs.evolve(key, animated=animated, webp=webp)
