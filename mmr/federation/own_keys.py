"""Whether the keys that we sign with are those that our homeservers publish (R60)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from mmr.config import DomainConfig
from mmr.crypto.key_check import check_own_key
from mmr.crypto.request_signer import RequestSigners
from mmr.errors import ConfigError
from mmr.http.client import TrustedClient, UpstreamUnavailable

logger = logging.getLogger(__name__)


class NotComparable(Exception):
    """The homeserver doesn't tell which keys it publishes; the text says why."""


class OwnKeys:
    """Compares each homeserver's key once, as soon as that homeserver answers.

    Args:
        signers: Have the keys.
        client: Asks the homeservers.
    """

    def __init__(self, signers: RequestSigners, client: TrustedClient) -> None:
        self._signers = signers
        self._client = client
        # By server name: what was compared, and what can't be compared yet.
        self._done: dict[str, DomainConfig] = {}
        self._waiting: dict[str, DomainConfig] = {}

    async def check(self, domains: Iterable[DomainConfig]) -> None:
        """Log what is wrong with the keys of those that weren't compared yet.

        After a reload of the configuration all of them are compared again.
        """
        for domain in domains:
            name = domain.name
            if self._done.get(name) is domain:
                continue
            if not domain.signing_key_path:
                self._done[name] = domain
                logger.warning(
                    "homeservers[].signingKeyPath of %s is not set: requests to other"
                    " servers are not signed, so only servers that still have the old"
                    " routes give us media. Set it to the homeserver's signing key"
                    " file.",
                    name,
                )
                continue
            try:
                for finding in await self.compare(domain):
                    logger.error("%s", finding)
            except ConfigError as error:
                logger.error("%s", error)
            except NotComparable as reason:
                self._wait(domain, reason)
                continue
            self._done[name] = domain

    def _wait(self, domain: DomainConfig, reason: NotComparable) -> None:
        if self._waiting.get(domain.name) is not domain:
            self._waiting[domain.name] = domain
            logger.warning(
                "The signing key %s of %s could not be compared with the published"
                " one yet: %s",
                domain.signing_key_path,
                domain.name,
                reason,
            )

    async def compare(self, domain: DomainConfig) -> list[str]:
        """What is wrong with the key of a homeserver that has one; empty: nothing.

        Raises:
            ConfigError: the key can't be read.
            NotComparable: the homeserver doesn't tell its keys now.
        """
        keys = await self._signers.get(domain).keys()
        try:
            status, document = await self._client.request_json(
                "GET",
                domain.cs_api.rstrip("/") + "/_matrix/key/v2/server",
                timeout_s=domain.timeouts.client_server_timeout_seconds,
            )
        except UpstreamUnavailable as error:
            raise NotComparable(f"{domain.cs_api}: {error.reason}") from error
        if status != 200:
            raise NotComparable(
                f"{domain.cs_api} answered {status} to /_matrix/key/v2/server"
            )
        path = domain.signing_key_path
        return check_own_key(domain.name, path, keys[0], document)
