"""Requests in, responses out. Every request pays for these: children are kept."""

from __future__ import annotations

import attrs
from prometheus_client import Counter, Histogram

from mmr.metrics.labels import host_label, method_label
from mmr.metrics.registry import REGISTRY

_REQUESTS = Counter(
    "media_http_requests_total",
    "Requests for a configured host",
    ["host", "action", "method"],
    registry=REGISTRY,
)
_INVALID = Counter(
    "media_invalid_http_requests_total",
    "Requests for a host that is not configured",
    ["action", "method"],
    registry=REGISTRY,
)
_RESPONSES = Counter(
    "media_http_responses_total",
    "Responses sent",
    ["host", "action", "method", "statusCode"],
    registry=REGISTRY,
)
_SECONDS = Histogram(
    "media_http_response_time_seconds",
    "Time from the request's head to the end of its response",
    ["host", "action", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)


@attrs.frozen(slots=True)
class _Route:
    """The children of one host, route and method."""

    requests: Counter
    seconds: Histogram
    responses: dict[int, Counter] = attrs.Factory(dict)


# Its keys come from fixed sets: see `mmr.metrics.labels`. Looking a child up costs
# more than counting.
_routes: dict[tuple[str, str, str], _Route] = {}


def _route(host: str, action: str, method: str) -> _Route:
    key = (host_label(host), action, method_label(method))
    route = _routes.get(key)
    if route is None:
        route = _Route(_REQUESTS.labels(*key), _SECONDS.labels(*key))
        _routes[key] = route
    return route


def request_received(host: str, action: str, method: str) -> None:
    """Count a request.

    Args:
        host: The server name asked for.
        action: MMR's name of the route (tools reference 12).
        method: The HTTP method.
    """
    _route(host, action, method).requests.inc()


def invalid_request(action: str, method: str) -> None:
    """Count a request whose host is not configured."""
    _INVALID.labels(action, method_label(method)).inc()


def request_finished(
    host: str, action: str, method: str, status: int, seconds: float
) -> None:
    """Count a response and its time."""
    route = _route(host, action, method)
    response = route.responses.get(status)
    if response is None:
        labels = (host_label(host), action, method_label(method), str(status))
        response = route.responses[status] = _RESPONSES.labels(*labels)
    response.inc()
    route.seconds.observe(seconds)
