"""Routes and the site that serves them."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Protocol

import attrs

from mmr.auth.profile_pictures import ProfilePictures
from mmr.config import DomainConfig
from mmr.http.access_log import AccessLog
from mmr.http.addresses import ClientAddresses
from mmr.http.limits import HttpLimits, affordable_connections
from mmr.http.request import MediaRequest
from mmr.http.routing import Route, Router
from mmr.http.site import MediaSite
from mmr.logging import log_lines, write_lines
from mmr.metrics import (
    invalid_request,
    request_finished,
)
from mmr.rest.admin.attributes import AttributesServlet
from mmr.rest.admin.audit import AuditServlet
from mmr.rest.admin.datastores import DatastoresServlet
from mmr.rest.admin.exports import ExportsServlet
from mmr.rest.admin.imports import ImportsServlet
from mmr.rest.admin.purge import PurgeServlet
from mmr.rest.admin.quarantine import QuarantineServlet
from mmr.rest.admin.tasks import TasksServlet
from mmr.rest.admin.usage import UsageServlet
from mmr.rest.config import ConfigServlet
from mmr.rest.download import DownloadServlet
from mmr.rest.federation import FederationServlet
from mmr.rest.federation_test import FederationTestServlet
from mmr.rest.identicon import IdenticonServlet
from mmr.rest.info import InfoServlet
from mmr.rest.local_copy import LocalCopyServlet
from mmr.rest.preview import PreviewServlet
from mmr.rest.profiling import profiling_servlets
from mmr.rest.redirect import Redirects
from mmr.rest.server_info import ServerInfoServlet
from mmr.rest.session import SessionServlet
from mmr.rest.synapse_admin import (
    ChangesServlet,
    DeletionServlet,
    ListingServlet,
    ModerationServlet,
)
from mmr.rest.thumbnail import ThumbnailServlet
from mmr.rest.upload import UploadServlet
from mmr.server.tasking import Tasking
from mmr.thumbnailing import codecs


class Servlet(Protocol):
    """A group of routes."""

    def routes(self) -> list[Route]:
        """The routes."""
        ...


class HttpSide(Tasking):
    """What clients and servers speak to."""

    @cached_property
    def router(self) -> Router:
        redirects = Redirects(self.datastores)
        download = DownloadServlet(
            self.downloads, self.content, self.placeholder, redirects, self.serving
        )
        thumbnail = ThumbnailServlet(
            self.downloads,
            self.thumbnails,
            self.content,
            self.placeholder,
            redirects,
            self.serving,
        )
        servlets: tuple[Servlet, ...] = (
            UploadServlet(self.uploads, self.blurhashes),
            download,
            thumbnail,
            FederationServlet(download, thumbnail),
            PreviewServlet(self.previews),
            ConfigServlet(self.stores.quotas),
            InfoServlet(self.downloads, self.media_info),
            IdenticonServlet(self.files),
            SessionServlet(self.sessions),
            ServerInfoServlet(self.readiness, codecs.describe()),
            FederationTestServlet(self.federation.test),
            DatastoresServlet(
                self.datastores, self.stores, self.task_engine, self.audit, self.clock
            ),
            TasksServlet(self.stores.tasks, self.task_engine, self.audit),
            ExportsServlet(self.exports, self.export_downloads, self.sessions),
            ImportsServlet(self.imports),
            *profiling_servlets(os.environ, self.clock),
            *self._moderation_servlets,
            *self._synapse_admin_servlets,
        )
        return Router(route for servlet in servlets for route in servlet.routes())

    @cached_property
    def site(self) -> MediaSite:
        repo = self.config.repo
        return MediaSite(
            router=self.router,
            config_for_host=self._config_for_host,
            configured_hosts=lambda: self.config.domains,
            guard=self.authenticator,
            caller_limits=self.caller_limits,
            clock=self.clock,
            access_log=self._access_log,
            addresses=ClientAddresses(
                repo.trusted_proxies, repo.trust_any_forwarded_address
            ),
            use_forwarded_host=repo.use_forwarded_host,
            limits=attrs.evolve(
                HttpLimits(),
                connections=affordable_connections(repo.max_connections),
                connections_per_address=repo.max_connections_per_address,
            ),
            observers=[self._observe],
        )

    @cached_property
    def _access_log(self) -> AccessLog:
        repo = self.config.repo
        tag = str(repo.port)
        if repo.log_config is not None:
            return AccessLog(log_lines, tag, self.clock, as_messages=True)
        return AccessLog(write_lines, tag, self.clock, repo.json_logs)

    def _config_for_host(self, host: str) -> DomainConfig | None:
        return self.config.domains.get(host)

    @property
    def _moderation_servlets(self) -> tuple[Servlet, ...]:
        media, sessions = self.stores.media, self.sessions
        return (
            PurgeServlet(
                self.moderation,
                self.purge,
                media,
                sessions,
                lambda: self.config.domains.keys(),
                self.clock,
            ),
            QuarantineServlet(self.moderation, sessions),
            AttributesServlet(self.stores.attributes, media, sessions, self.audit),
            UsageServlet(self.usage, self.stores.usage, sessions),
            AuditServlet(self.stores.audit),
            LocalCopyServlet(self.downloads, self.content, self.uploads),
        )

    @property
    def _synapse_admin_servlets(self) -> tuple[Servlet, ...]:
        listing, sessions = self.stores.listing, self.sessions
        return (
            ListingServlet(listing, self.stores.usage, sessions),
            ChangesServlet(self.stores.quarantine_changes, sessions),
            ModerationServlet(self.moderation, self.stores, self.audit, sessions),
            DeletionServlet(
                moderation=self.moderation,
                listing=listing,
                pictures=ProfilePictures(self.homeservers),
                sessions=sessions,
                our_servers=lambda: self.config.domains.keys(),
            ),
        )

    def _observe(self, request: MediaRequest) -> None:
        self.serving.over(request)
        self.export_downloads.over(request)
        if request.route is None:
            return
        action, method = request.route.action, request.method.decode("ascii")
        if not request.host:
            invalid_request(action, method)
            return
        seconds = self.clock.monotonic() - request.started
        request_finished(request.host, action, method, request.status, seconds)
