"""The whole configuration: the main part, and the part of each domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from mmr.config._base import Mark, Section, section, setting
from mmr.config._values import UserId, problem
from mmr.config.access import AccessTokensConfig, SharedSecretConfig
from mmr.config.behaviour import (
    ArchivingConfig,
    IdenticonsConfig,
    QuarantineConfig,
    TimeoutsConfig,
)
from mmr.config.database import DatabaseConfig
from mmr.config.datastores import Datastores
from mmr.config.downloads import DownloadsConfig
from mmr.config.feature_support import FeatureSupportConfig
from mmr.config.homeservers import FederationConfig, HomeserverConfig
from mmr.config.operations import (
    MetricsConfig,
    PgoConfig,
    PluginConfig,
    SentryConfig,
    TasksConfig,
)
from mmr.config.rate_limit import RateLimitConfig
from mmr.config.redis import RedisConfig
from mmr.config.repo import RepoConfig
from mmr.config.thumbnails import ThumbnailsConfig
from mmr.config.uploads import UploadsConfig
from mmr.config.url_previews import UrlPreviewsConfig


class SharedSections(Section):
    """The sections that a domain inherits from the main part (reference §1.2)."""

    RETIRED: ClassVar[dict[str, str]] = {"storagePaths": "use `datastores`"}

    datastores: Datastores = setting(
        (),
        "Where the bytes are kept. A domain's own list replaces the main one, and has"
        " to name every datastore that its users read from.",
        [{"type": "file", "id": "main", "forKinds": ["all"], "opts": {"path": "/m"}}],
    )
    archiving: ArchivingConfig = section(ArchivingConfig)
    uploads: UploadsConfig = section(UploadsConfig)
    downloads: DownloadsConfig = section(DownloadsConfig)
    url_previews: UrlPreviewsConfig = section(UrlPreviewsConfig)
    thumbnails: ThumbnailsConfig = section(ThumbnailsConfig)
    identicons: IdenticonsConfig = section(IdenticonsConfig)
    quarantine: QuarantineConfig = section(QuarantineConfig)
    timeouts: TimeoutsConfig = section(TimeoutsConfig)
    access_tokens: AccessTokensConfig = section(AccessTokensConfig)
    feature_support: FeatureSupportConfig = section(FeatureSupportConfig, Mark.LEGACY)


class DomainConfig(SharedSections, HomeserverConfig):
    """What counts for one server name."""


class Config(SharedSections):
    """The configuration. ``domains`` and ``warnings`` are made by the loader.

    Attributes:
        domains: By lower-case server name.
        warnings: What the operator should know, in whole sentences.
        files: The files that it was read from.
    """

    repo: RepoConfig = section(RepoConfig)
    database: DatabaseConfig = section(DatabaseConfig)
    homeservers: tuple[HomeserverConfig, ...] = setting(
        (),
        "The homeservers. May be left out when each has a file of its own.",
        [{"name": "example.org", "csApi": "https://matrix.example.org"}],
    )
    admins: tuple[UserId, ...] = setting(
        (), "Repository admins. They may do anything.", ["@alice:example.org"]
    )
    shared_secret_auth: SharedSecretConfig = section(SharedSecretConfig)
    federation: FederationConfig = section(FederationConfig)
    rate_limit: RateLimitConfig = section(RateLimitConfig)
    redis: RedisConfig = section(RedisConfig)
    metrics: MetricsConfig = section(MetricsConfig)
    tasks: TasksConfig = section(TasksConfig)
    plugins: tuple[PluginConfig, ...] = setting(
        (),
        "What is asked about every file before it is kept, in this order.",
        [{"exec": "/opt/plugins/antispam", "config": {"keywords": ["spam"]}}],
    )
    sentry: SentryConfig = section(SentryConfig)
    pgo: PgoConfig = section(PgoConfig, Mark.LEGACY)

    domains: Mapping[str, DomainConfig] = Field(
        default_factory=dict, json_schema_extra={"marks": [Mark.INTERNAL.value]}
    )
    warnings: tuple[str, ...] = Field(
        default=(), json_schema_extra={"marks": [Mark.INTERNAL.value]}
    )
    files: tuple[Path, ...] = Field(
        default=(), json_schema_extra={"marks": [Mark.INTERNAL.value]}
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> Config:
        port = self.metrics.port
        if self.metrics.enabled and port and port == self.repo.port:
            raise problem(
                "is the port of repo as well; take another", "metrics", "port"
            )
        return self
