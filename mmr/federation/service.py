"""All that is between us and other servers, built once."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from functools import cached_property
from typing import Any

from mmr.config import Config
from mmr.crypto.key_fetchers import NotaryKeys, OriginKeys
from mmr.crypto.key_ring import KeyRing
from mmr.crypto.request_signer import RequestSigners
from mmr.federation.back_off import BackOff
from mmr.federation.client import FederationClient
from mmr.federation.discovery import Discovery
from mmr.federation.keys import KeyDocuments
from mmr.federation.media import RemoteMediaClient
from mmr.federation.switches import Switches
from mmr.federation.version import FederationTest
from mmr.federation.well_known import WellKnowns
from mmr.http.guard import (
    MEDIA_BOUNDS,
    AddressGuard,
    Budget,
    GuardedClient,
    Resolver,
    TrustRoots,
    proxy_warning,
)
from mmr.storage.destinations import DestinationStore
from mmr.util.clock import Clock
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)


class Federation:
    """The clients, the keys and what they need.

    Args:
        config: The configuration of this moment.
        reactor: The reactor.
        clock: The time.
        destinations: Where the back-off is kept.
        files: Pool in which key files are read.
        resolver: Looks names up.
        is_ours: Whether a server name is one of our homeservers.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        reactor: Any,
        clock: Clock,
        destinations: DestinationStore,
        files: Runner,
        resolver: Resolver,
        is_ours: Callable[[str], bool],
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._clock = clock
        self._destinations = destinations
        self._files = files
        self._resolver = resolver
        self._is_ours = is_ours
        self._rng = random.SystemRandom()
        self.switches = Switches.from_environ(os.environ)

    def start(self) -> None:
        """Say what the environment does to us."""
        warning = proxy_warning(os.environ)
        if warning is not None:
            logger.warning("%s", warning)

    def stop(self) -> None:
        """Close the idle connections."""
        self._guarded.close()

    def reload(self) -> None:
        """Take over the networks of a changed configuration."""
        self._guarded.guard = self._address_guard()

    def _address_guard(self) -> AddressGuard:
        return AddressGuard(exempt=self._config().federation.exempt_networks)

    @cached_property
    def _guarded(self) -> GuardedClient:
        return GuardedClient(
            self._reactor,
            self._clock,
            self._address_guard(),
            self._resolver,
            budget=Budget(self._clock, MEDIA_BOUNDS),
            trust_roots=TrustRoots(self._config().federation.ca_file),
        )

    @cached_property
    def discovery(self) -> Discovery:
        """Finds servers."""
        well_knowns = WellKnowns(self._guarded, self._clock, self.switches, self._rng)
        return Discovery(well_knowns, self._resolver, self._clock, self._rng)

    @cached_property
    def back_off(self) -> BackOff:
        """Which servers are left alone for now."""
        return BackOff(
            self._destinations,
            self._clock,
            lambda: self._config().federation.backoff_at,
            self._rng,
        )

    @cached_property
    def signers(self) -> RequestSigners:
        """Our homeservers' signing keys."""
        return RequestSigners(self._files)

    @cached_property
    def _client(self) -> FederationClient:
        return FederationClient(
            client=self._guarded,
            discovery=self.discovery,
            back_off=self.back_off,
            signers=self.signers,
            clock=self._clock,
            switches=self.switches,
            rng=self._rng,
        )

    @cached_property
    def media(self) -> RemoteMediaClient:
        """Opens files of other servers."""
        return RemoteMediaClient(self._client, self._clock, self._is_ours)

    @cached_property
    def key_ring(self) -> KeyRing:
        """Other servers' keys."""
        get = KeyDocuments(self._client).get

        def fetchers() -> list[OriginKeys | NotaryKeys]:
            notaries = self._config().federation.notaries
            return [OriginKeys(get), *(NotaryKeys(get, name) for name in notaries)]

        return KeyRing(
            fetchers, self._clock, lambda: self._config().federation.refused_keys
        )

    @cached_property
    def test(self) -> FederationTest:
        """For admins who look for a fault."""
        return FederationTest(self._client, self.discovery, self.switches)
