"""Gauges that are read when somebody scrapes, and cost nothing until then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
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


# One number each, by name.
_figures: dict[str, tuple[str, Read]] = {}


class _Gauges(Collector):
    def collect(self) -> Iterator[Metric]:
        families = (_WAITING, _RUNNING, _ITEMS, _LIVE_ITEMS, _BYTES, _LIVE_BYTES)
        yield from (family.collect() for family in families)
        yield from _labelled.values()
        for name, (help_text, read) in _figures.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            try:
                yield kind(name.removesuffix("_total"), help_text, value=read())
            except Exception:
                logger.exception("Can't read the metric %s", name)


REGISTRY.register(_Gauges())


_labelled: dict[str, GaugeMetricFamily] = {}


def register_figure(name: str, help_text: str, read: Read) -> None:
    """Show one number; a counter when its name ends in ``_total``."""
    _figures[name] = help_text, read


def show_figures(
    name: str, help_text: str, label: str, values: Mapping[str, float]
) -> None:
    """Show numbers that were found out just now, in the place of those before.

    Args:
        name: Of the gauge.
        help_text: What it is.
        label: The label that tells them apart.
        values: By the label's value. From a fixed set (R107).
    """
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    _labelled[name] = family


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
