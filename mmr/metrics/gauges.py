"""Gauges that are read when somebody scrapes, and cost nothing until then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import attrs
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mmr.metrics.registry import REGISTRY

logger = logging.getLogger(__name__)

Read = Callable[[], float]


@attrs.frozen(slots=True)
class _Family:
    """One gauge with one label, and the function for each of its values."""

    name: str
    help: str
    label: str
    reads: dict[str, Read] = attrs.Factory(dict)

    def collect(self) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(self.name, self.help, labels=[self.label])
        for value, read in self.reads.items():
            try:
                gauge.add_metric([value], read())
            except Exception:
                # One broken gauge must not hide all other metrics.
                logger.exception("Can't read the metric %s of %s", self.name, value)
        return gauge


_WAITING = _Family("media_pool_waiting", "Jobs that wait for a thread", "pool")
_RUNNING = _Family("media_pool_running", "Jobs that run", "pool")
_ITEMS = _Family("media_cache_num_items", "Entries of the cache", "cache")
_LIVE_ITEMS = _Family("media_cache_num_live_items", "As num_items", "cache")
_BYTES = _Family("media_cache_num_bytes_used", "Bytes in the cache", "cache")
_LIVE_BYTES = _Family("media_cache_num_live_bytes_used", "As num_bytes_used", "cache")


class _Gauges(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        families = (_WAITING, _RUNNING, _ITEMS, _LIVE_ITEMS, _BYTES, _LIVE_BYTES)
        return (family.collect() for family in families)


REGISTRY.register(_Gauges())


def register_pool(name: str, waiting: Read, running: Read) -> None:
    """Show a worker pool; a later pool of the same name takes its place."""
    _WAITING.reads[name] = waiting
    _RUNNING.reads[name] = running


def register_cache(name: str, items: Read, size_bytes: Read) -> None:
    """Show a cache; a later cache of the same name takes its place.

    MMR's "live" gauges equal the plain ones, so dashboards may use either.
    """
    _ITEMS.reads[name] = _LIVE_ITEMS.reads[name] = items
    _BYTES.reads[name] = _LIVE_BYTES.reads[name] = size_bytes
