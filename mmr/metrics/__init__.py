"""Prometheus metrics under MMR's names (tools reference 12)."""

from mmr.metrics.gauges import (
    register_cache,
    register_figure,
    register_pool,
    show_figures,
)
from mmr.metrics.http import invalid_request, request_finished
from mmr.metrics.labels import set_label_values
from mmr.metrics.listener import metrics_site
from mmr.metrics.media import (
    cache_events,
    count_passed_through,
    count_preview,
    count_remote_attempt,
    count_s3_operation,
    count_thumbnail,
    observe_first_byte,
    observe_media_age,
)
from mmr.metrics.registry import REGISTRY

__all__ = [
    "REGISTRY",
    "cache_events",
    "count_passed_through",
    "count_preview",
    "count_remote_attempt",
    "count_s3_operation",
    "count_thumbnail",
    "invalid_request",
    "metrics_site",
    "observe_first_byte",
    "observe_media_age",
    "register_cache",
    "register_figure",
    "register_pool",
    "request_finished",
    "set_label_values",
    "show_figures",
]
