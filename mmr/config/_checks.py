"""What can only be seen from the whole configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmr.config._problems import error_at, warning_at
from mmr.config._yaml import KeyPath, Place
from mmr.config.datastores import REQUIRED_KINDS, DatastoreConfig, missing_kinds
from mmr.config.root import Config
from mmr.errors import ConfigError
from mmr.types import Kind

Places = Mapping[KeyPath, Place]


def check(config: Config, places: Places, warnings: list[str]) -> Iterator[ConfigError]:
    """Errors of the whole; adds to the warnings."""
    yield from _domains(config, places, warnings)
    yield from _same_ids(config)
    yield from _ca_file(config, places)
    _unsafe_choices(config, places, warnings)
    if config.feature_support.redis.enabled:
        text = "is where matrix-media-repo 1.2 had it; use the section redis"
        warnings.append(warning_at(("featureSupport", "redis"), places, text))
    if config.feature_support.ipfs.enabled:
        text = "IPFS is not supported; this has no effect"
        warnings.append(warning_at(("featureSupport", "IPFS"), places, text))


def _domains(
    config: Config, places: Places, warnings: list[str]
) -> Iterator[ConfigError]:
    if not config.domains:
        text = "no homeserver is configured; list one with name and csApi"
        yield error_at(("homeservers",), places, text)
    for name, domain in config.domains.items():
        own = domain.datastores != config.datastores
        whose = f"{name}: " if own else ""
        if missing := missing_kinds(domain.datastores, REQUIRED_KINDS):
            text = f"{whose}no datastore takes {', '.join(missing)}; see forKinds"
            yield error_at(("datastores",), places, text)
        if missing_kinds(domain.datastores, [Kind.ARCHIVES]):
            text = f"{whose}no datastore takes archives, so exports will fail"
            warnings.append(warning_at(("datastores",), places, text))
    if config.domains and not config.datastores:
        text = "is empty in the main part; background tasks see only the main part"
        warnings.append(warning_at(("datastores",), places, text))


def _unsafe_choices(config: Config, places: Places, warnings: list[str]) -> None:
    """What MMR's operators may rely on, and should know the price of (R41, R74)."""
    if config.repo.trust_any_forwarded_address:
        text = "lets clients give themselves any address; use repo.trustedProxies"
        warnings.append(warning_at(("repo", "trustAnyForwardedAddress"), places, text))
    if not config.repo.freeze_unauthenticated_media:
        text = "is off: anybody may make us fetch, draw and give out media"
        place = ("repo", "freezeUnauthenticatedMedia")
        warnings.append(warning_at(place, places, text))


def _same_ids(config: Config) -> Iterator[ConfigError]:
    """One id for two places would look for media in the wrong one."""
    seen: dict[str, DatastoreConfig] = {}
    for part in (config, *config.domains.values()):
        for store in part.datastores:
            first = seen.setdefault(store.id or "", store)
            if store.id and (first.type, first.opts) != (store.type, store.opts):
                text = f"the id {store.id!r} stands for two different datastores"
                yield ConfigError(f"{text}; give each its own", key="datastores")


def _ca_file(config: Config, places: Places) -> Iterator[ConfigError]:
    file = config.federation.ca_file
    if file is None:
        return
    try:
        with open(file, "rb"):
            return
    except OSError as error:
        text = f"{file} can't be read: {error.strerror}"
        yield error_at(("federation", "caFile"), places, text)
