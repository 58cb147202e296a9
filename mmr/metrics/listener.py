"""The listener that Prometheus scrapes (``metrics``): apart from the public one."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from twisted.web.http import NOT_FOUND
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mmr.metrics.registry import REGISTRY

_PATHS = frozenset({b"/metrics", b"/_media/metrics"})


class _Metrics(Resource):
    """Every metric of the process; ``GET`` and ``HEAD``."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        if request.path not in _PATHS:
            request.setResponseCode(NOT_FOUND)
            return b"Not found: see /metrics\n"
        request.setHeader("Content-Type", CONTENT_TYPE_LATEST)
        return generate_latest(REGISTRY)


class _QuietSite(Site):
    """A site without an access log: scrapes come every few seconds."""

    displayTracebacks = False

    def log(self, request: BaseRequest) -> None:
        """Write nothing."""


def metrics_site() -> Site:
    """The factory for ``metrics.bindAddress`` and ``metrics.port``."""
    return _QuietSite(_Metrics())
