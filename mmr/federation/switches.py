"""The test switches of the environment, as in MMR (mmr-http-api.md §9)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import attrs
from prometheus_client import Gauge

from mmr.metrics.registry import REGISTRY

logger = logging.getLogger(__name__)

_HTTP_ONLY = "MEDIA_REPO_HTTP_ONLY_FEDERATION"
_UNSAFE = "MEDIA_REPO_UNSAFE_FEDERATION"

_IS_UNSAFE = Gauge(
    "media_federation_unsafe",
    "1 when a test switch turns off certificates or TLS of federation",
    registry=REGISTRY,
)


@attrs.frozen
class Switches:
    """How federation is weakened for tests.

    Attributes:
        http_only: Plain HTTP in the place of HTTPS, everywhere.
        unsafe: Certificates are not checked. Addresses still are (R18).
    """

    http_only: bool = False
    unsafe: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Switches:
        """Read them, and say so loudly when one is on (R18)."""
        found = {name for name in (_HTTP_ONLY, _UNSAFE) if _is_on(environ.get(name))}
        for name in sorted(found):
            logger.warning(
                "%s is on: everybody between us and other servers can read and change"
                " what is fetched. Unset it outside of tests.",
                name,
            )
        _IS_UNSAFE.set(1 if found else 0)
        return cls(http_only=_HTTP_ONLY in found, unsafe=_UNSAFE in found)

    @property
    def scheme(self) -> str:
        """Of every request to another server."""
        return "http" if self.http_only else "https"


def _is_on(value: str | None) -> bool:
    return (value or "").strip().lower() in {"true", "1"}
