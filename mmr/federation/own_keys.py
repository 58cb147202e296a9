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
            unknown = await self._compare(domain)
            if unknown is None:
                self._done[name] = domain
            elif self._waiting.get(name) is not domain:
                self._waiting[name] = domain
                logger.warning(
                    "The signing key %s of %s could not be compared with the published"
                    " one yet: %s",
                    domain.signing_key_path,
                    name,
                    unknown,
                )

    async def _compare(self, domain: DomainConfig) -> str | None:
        """Compare and log. Gives the reason when that isn't possible now."""
        path = domain.signing_key_path
        if not path:
            logger.warning(
                "homeservers[].signingKeyPath of %s is not set: requests to other"
                " servers are not signed, so only servers that still have the old"
                " routes give us media. Set it to the homeserver's signing key file.",
                domain.name,
            )
            return None
        try:
            keys = await self._signers.get(domain).keys()
            status, document = await self._client.request_json(
                "GET",
                domain.cs_api.rstrip("/") + "/_matrix/key/v2/server",
                timeout_s=domain.timeouts.client_server_timeout_seconds,
            )
        except ConfigError as error:
            logger.error("%s", error)
            return None
        except UpstreamUnavailable as error:
            return f"{domain.cs_api}: {error.reason}"
        if status != 200:
            return f"{domain.cs_api} answered {status} to /_matrix/key/v2/server"
        for finding in check_own_key(domain.name, path, keys[0], document):
            logger.error("%s", finding)
        return None
