"""Which configured homeserver a request is for (R75, D62, mmr-http-api.md §1.5)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mmr.errors import MatrixError, unavailable
from mmr.http.head import Headers
from mmr.types import split_server_name

if TYPE_CHECKING:
    from mmr.config import DomainConfig

logger = logging.getLogger(__name__)

_MAX_REMEMBERED_HOSTS = 100
_REMIND_SECONDS = 60.0


@functools.lru_cache(maxsize=256)
def host_candidates(value: bytes) -> tuple[str, ...]:
    """The names under which the host may be configured, likeliest first.

    A client may come through a port that its server's name doesn't have.
    """
    name = value.decode("ascii", "replace").lower()
    parts = split_server_name(name)
    if parts is None:
        return ()
    host, port = parts
    return (name,) if port is None else (name, host)


class HostFinder:
    """Finds the domain of a request.

    Args:
        config_for_host: The configuration of a lower-case server name.
        configured_hosts: All names, for the log.
        use_forwarded_host: Whether ``X-Forwarded-Host`` of a trusted proxy replaces
            ``Host``.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        config_for_host: Callable[[str], DomainConfig | None],
        configured_hosts: Callable[[], Iterable[str]],
        use_forwarded_host: bool,
        now: Callable[[], float],
    ) -> None:
        self._config_for_host = config_for_host
        self._configured_hosts = configured_hosts
        self._use_forwarded_host = use_forwarded_host
        self._now = now
        self._logged: set[bytes] = set()
        self._logged_since = now()

    def find(self, headers: Headers, peer_is_trusted: bool) -> tuple[str, DomainConfig]:
        """The server name asked for, and its configuration.

        Raises:
            MatrixError: 502, when none is configured under that name.
        """
        value = headers.get(b"host", [b""])[0]
        if self._use_forwarded_host and peer_is_trusted:
            forwarded = headers.get(b"x-forwarded-host")
            # A chain of proxies appends; the first saw the client's own word.
            if forwarded and forwarded[0]:
                value = forwarded[0].partition(b",")[0].strip(b" \t")
        for name in host_candidates(value):
            domain = self._config_for_host(name)
            if domain is not None:
                return name, domain
        self._log(value)
        raise _unknown_host()

    def _log(self, value: bytes) -> None:
        """Tell the operator, but not once a request: anybody can cause it."""
        now = self._now()
        if now - self._logged_since >= _REMIND_SECONDS:
            self._logged_since = now
            self._logged.clear()
        if value in self._logged or len(self._logged) >= _MAX_REMEMBERED_HOSTS:
            return
        self._logged.add(value)
        logger.warning(
            "A request asked for the host %r, which is not configured. Configured "
            "are: %s. Either the reverse proxy doesn't pass the Host header, or the "
            "name is missing under `homeservers`.",
            value.decode("ascii", "backslashreplace"),
            ", ".join(sorted(self._configured_hosts())) or "none",
        )


def _unknown_host() -> MatrixError:
    return unavailable(
        "The host of this request is not configured on this media repository. Its log "
        "names the host that was seen and those that are configured.",
        502,
    )
