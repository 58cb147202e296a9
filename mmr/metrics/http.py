"""Requests in, responses out. Every request pays for these, so they are plain."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from prometheus_client import Counter
from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mmr.metrics.labels import host_label, method_label
from mmr.metrics.plain import PlainHistogram
from mmr.metrics.registry import REGISTRY

_INVALID = Counter(
    "media_invalid_http_requests_total",
    "Requests for a host that is not configured",
    ["action", "method"],
    registry=REGISTRY,
)
_LABELS = ("host", "action", "method")
_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@attrs.frozen(slots=True)
class _Route:
    """The figures of one host, route and method."""

    statuses: dict[int, int] = attrs.Factory(dict)
    seconds: PlainHistogram = attrs.Factory(lambda: PlainHistogram(_BOUNDS_S))


# Its keys come from fixed sets: see `mmr.metrics.labels`.
_routes: dict[tuple[str, str, str], _Route] = {}


class _Requests(Collector):
    """Shows the figures when somebody scrapes."""

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "media_http_requests", "Requests for a configured host", labels=_LABELS
        )
        responses = CounterMetricFamily(
            "media_http_responses", "Responses sent", labels=(*_LABELS, "statusCode")
        )
        seconds = HistogramMetricFamily(
            "media_http_response_time_seconds",
            "Time from the request's head to the end of its response",
            labels=_LABELS,
        )
        for key, route in _routes.items():
            requests.add_metric(key, sum(route.statuses.values()))
            for status, count in route.statuses.items():
                responses.add_metric((*key, str(status)), count)
            seconds.add_metric(key, route.seconds.buckets(), route.seconds.sum)
        return iter((requests, responses, seconds))


REGISTRY.register(_Requests())


def invalid_request(action: str, method: str) -> None:
    """Count a request whose host is not configured.

    Args:
        action: MMR's name of the route (tools reference 12).
        method: The HTTP method.
    """
    _INVALID.labels(action, method_label(method)).inc()


def request_finished(
    host: str, action: str, method: str, status: int, seconds: float
) -> None:
    """Count a request with its response and time. In the reactor's thread.

    Args:
        host: The server name asked for.
        action: MMR's name of the route (tools reference 12).
        method: The HTTP method.
        status: Of the response.
        seconds: From the request's head to the end of the response.
    """
    key = (host_label(host), action, method_label(method))
    route = _routes.get(key)
    if route is None:
        route = _routes[key] = _Route()
    route.statuses[status] = route.statuses.get(status, 0) + 1
    route.seconds.observe(seconds)
