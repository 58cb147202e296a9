"""The listener that Prometheus scrapes (``metrics``): apart from the public one."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from twisted.web.http import NOT_ALLOWED, NOT_FOUND
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mmr.metrics.registry import REGISTRY

_PATHS = frozenset({b"/metrics", b"/_media/metrics"})


class _Metrics(Resource):
    """Every metric of the process; ``GET`` and ``HEAD``."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        # Twisted's own answer to other methods is a page of HTML (R1, R5).
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(NOT_ALLOWED)
            request.setHeader("Allow", "GET, HEAD")
            return b"Only GET and HEAD\n"
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
