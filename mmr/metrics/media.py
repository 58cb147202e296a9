"""What happens to media: caches, thumbnails, the age of what is read."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from prometheus_client import Counter
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mmr.metrics.labels import OTHER, host_label, size_labels
from mmr.metrics.plain import PlainHistogram
from mmr.metrics.registry import REGISTRY

_CACHE_HITS = Counter(
    "media_cache_hits_total", "Found in a cache", ["cache"], registry=REGISTRY
)
_CACHE_MISSES = Counter(
    "media_cache_misses_total", "Not found in a cache", ["cache"], registry=REGISTRY
)
_CACHE_EVICTIONS = Counter(
    "media_cache_evictions_total",
    "Pushed out of a cache",
    ["cache", "reason"],
    registry=REGISTRY,
)
_THUMBNAILS = Counter(
    "media_thumbnails_generated_total",
    "Thumbnails rendered",
    ["width", "height", "method", "animated", "origin"],
    registry=REGISTRY,
)
_REMOTE_ATTEMPTS = Counter(
    "media_downloaded_total",
    "Requests to other servers for their media",
    ["origin"],
    registry=REGISTRY,
)
_PASSED_THROUGH = Counter(
    "media_passed_through_total",
    "Files of other servers that went to clients without being kept: no room",
    registry=REGISTRY,
)
_PREVIEWS = Counter(
    "media_url_previews_generated_total",
    "URL previews made",
    ["type"],
    registry=REGISTRY,
)
_S3_OPERATIONS = Counter(
    "media_s3_operations_total",
    "Calls to object stores, counted before they are made",
    ["operation"],
    registry=REGISTRY,
)
# What is counted from the first day on shows as 0, not as a gap in a graph.
for _kind in ("oembed", "opengraph", "calculated"):
    _PREVIEWS.labels(_kind)
for _operation in ("PutObject", "GetObject", "RemoveObject", "RedirectGetObject"):
    _S3_OPERATIONS.labels(_operation)
_REMOTE_ATTEMPTS.labels(OTHER)

_FIRST_BYTE = PlainHistogram((0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120))
_AGE = PlainHistogram(
    # From seconds to a year, as in MMR.
    (
        *(5, 15, 30, 60, 120, 150, 300, 900, 1800, 3600, 9000, 18000, 43200),
        *(86400, 1296000, 2592000, 15811200, 31536000),
    ),
)


class _Ages(Collector):
    def collect(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(
            "media_age_accessed_media_seconds",
            "Age of the media that was served",
            buckets=_AGE.buckets(),
            sum_value=_AGE.sum,
        )
        yield HistogramMetricFamily(
            "media_remote_first_byte_seconds",
            "Time from a client's wish for a remote file to its first byte",
            buckets=_FIRST_BYTE.buckets(),
            sum_value=_FIRST_BYTE.sum,
        )


REGISTRY.register(_Ages())


@attrs.frozen(slots=True)
class CacheEvents:
    """The counters of one cache; make it once and keep it."""

    hits: Counter
    misses: Counter
    not_enough_downloads: Counter
    need_space: Counter


def cache_events(cache: str) -> CacheEvents:
    """The counters of the cache of this name (MMR has one, ``media``)."""
    return CacheEvents(
        hits=_CACHE_HITS.labels(cache),
        misses=_CACHE_MISSES.labels(cache),
        not_enough_downloads=_CACHE_EVICTIONS.labels(cache, "not_enough_downloads"),
        need_space=_CACHE_EVICTIONS.labels(cache, "need_space"),
    )


def count_thumbnail(
    width: int, height: int, method: str, animated: bool, origin: str
) -> None:
    """Count a thumbnail.

    Args:
        width: Of the box that was asked for, after size picking.
        height: Likewise.
        method: ``crop`` or ``scale``.
        animated: Whether the thumbnail moves.
        origin: The media's origin; other servers than ours all count as ``other``.
    """
    _THUMBNAILS.labels(
        *size_labels(width, height), method, str(animated).lower(), host_label(origin)
    ).inc()


def count_remote_attempt(origin: str) -> None:
    """Count one request for a remote file; each fallback is one more, as in MMR.

    Args:
        origin: Whom we ask. It is never one of ours, so it counts as ``other``.
    """
    _REMOTE_ATTEMPTS.labels(host_label(origin)).inc()


def count_passed_through() -> None:
    """Count a remote file that there was no room for (R82)."""
    _PASSED_THROUGH.inc()


def count_s3_operation(operation: str) -> None:
    """Count a call: ``PutObject``, ``GetObject``, ``RemoveObject`` or
    ``RedirectGetObject``. Any thread.
    """
    _S3_OPERATIONS.labels(operation).inc()


def observe_first_byte(seconds: float) -> None:
    """Count how long a remote file's first byte took. In the reactor's thread."""
    _FIRST_BYTE.observe(seconds)


def count_preview(kind: str) -> None:
    """Count a URL preview: ``oembed``, ``opengraph`` or ``calculated``."""
    _PREVIEWS.labels(kind).inc()


def observe_media_age(age_seconds: float) -> None:
    """Count the serving of media that was created so many seconds ago."""
    _AGE.observe(max(0.0, age_seconds))
