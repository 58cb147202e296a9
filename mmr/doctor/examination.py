"""All checks, one after the other; none keeps the next from being made."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

import attrs

from mmr.config import DomainConfig
from mmr.doctor.federation import check_key, check_way_in, check_way_out
from mmr.doctor.finding import Finding, fault, good
from mmr.doctor.formats import check_formats
from mmr.doctor.homeserver import HomeserverCheck
from mmr.doctor.proxy import ProxyCheck, is_ours
from mmr.doctor.storage import (
    check_database,
    check_datastore,
    check_redis,
)
from mmr.doctor.versions import check_versions
from mmr.http.client import UpstreamUnavailable
from mmr.http.probe import Prober
from mmr.server import MediaRepoServer

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[list[Finding]]]


@attrs.frozen
class Options:
    """What to look at.

    Attributes:
        urls: Where clients reach each homeserver, by server name.
        is_inside_only: Leave out what needs the proxy and other servers.
        remotes: Other servers to ask for their version.
    """

    urls: Mapping[str, str] = attrs.Factory(dict)
    is_inside_only: bool = False
    remotes: tuple[str, ...] = ()


class Examination:
    """Looks at an installation.

    Args:
        server: Not opened: what doesn't work is what is looked for.
        options: What to look at.
    """

    def __init__(self, server: MediaRepoServer, options: Options) -> None:
        self._server = server
        self._options = options
        self._prober = Prober(server.reactor)

    async def run(self) -> AsyncIterator[Finding]:
        """Every finding as soon as it is there."""
        server = self._server
        server.start_pools()
        for name, check in self._checks():
            try:
                findings = await check()
            except Exception as error:
                # What a check didn't foresee is a finding, not the end of the rest.
                logger.debug("the check of %s failed", name, exc_info=True)
                text = f"could not be looked at: {type(error).__name__}: {error}"
                findings = [fault(name, text, "Please report this with -debug")]
            for finding in findings:
                yield finding

    def _checks(self) -> list[tuple[str, Check]]:
        server, config = self._server, self._server.config
        checks: list[tuple[str, Check]] = [
            ("server", self._own_port),
            ("database", partial(check_database, server)),
        ]
        for store in server.datastores:
            checks.append((store.id, partial(check_datastore, server, store)))
        checks.append(("redis", partial(check_redis, server)))
        checks.append(("formats", self._formats))
        checks.append(("libraries", partial(server.files.run, check_versions)))
        for domain in config.domains.values():
            homeserver = HomeserverCheck(self._prober, domain, server.clock)
            checks.append((domain.name, homeserver.run))
            checks.append((domain.name, partial(check_key, server, domain)))
        if not self._options.is_inside_only:
            checks += self._outside()
        return checks

    def _outside(self) -> list[tuple[str, Check]]:
        server = self._server
        checks: list[tuple[str, Check]] = []
        for domain in server.config.domains.values():
            way_in = partial(check_way_in, server, domain, self._prober)
            checks.append((domain.name, partial(self._proxy, domain)))
            checks.append((domain.name, way_in))
        for remote in self._options.remotes:
            checks.append((remote, partial(check_way_out, server, remote)))
        return checks

    async def _formats(self) -> list[Finding]:
        return check_formats(self._server.config)

    async def _own_port(self) -> list[Finding]:
        """Whether the server runs, past the proxy."""
        repo = self._server.config.repo
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104
            repo.bind_address, repo.bind_address
        )
        url = f"http://{host}:{repo.port}/healthz/ready"
        try:
            answer = await self._prober.ask("GET", url)
        except UpstreamUnavailable as error:
            text = f"nobody listens at {url}: {error.reason}"
            return [fault("server", text, "systemctl start mmr, and look at its log")]
        if answer.status == 200:
            return [good("server", f"it runs on port {repo.port}, and is ready")]
        if is_ours(answer):
            text = f"it runs on port {repo.port}, but isn't ready: {answer.text}"
            return [fault("server", text, "The findings below and its log say why")]
        text = f"{url} gives {answer.status}: it isn't mmr that listens there"
        return [fault("server", text, "Change repo.port, or stop the other program")]

    async def _proxy(self, domain: DomainConfig) -> list[Finding]:
        url = self._options.urls.get(domain.name) or await self._published_url(
            domain.name
        )
        routes = self._server.router.routes
        return await ProxyCheck(self._prober, domain, url, routes).run()

    async def _published_url(self, name: str) -> str:
        """What clients find in the homeserver's well-known file."""
        url = f"https://{name}"
        try:
            answer = await self._prober.ask("GET", f"{url}/.well-known/matrix/client")
        except UpstreamUnavailable:
            return url
        section = answer.body.get("m.homeserver")
        found = section.get("base_url") if isinstance(section, dict) else None
        return found.rstrip("/") if isinstance(found, str) else url
