"""Whether the keys that we sign with are those that our homeservers publish (R60)."""

from __future__ import annotations

import logging
from pathlib import Path

from mmr.config import DomainConfig
from mmr.crypto.key_check import check_own_key
from mmr.crypto.request_signer import RequestSigner
from mmr.errors import ConfigError
from mmr.http.client import TrustedClient, UpstreamUnavailable

logger = logging.getLogger(__name__)


async def check_own_keys(
    domain: DomainConfig, signer: RequestSigner, client: TrustedClient
) -> None:
    """Log what is wrong with the signing key of a homeserver, and what comes of it."""
    path = domain.signing_key_path
    if not path:
        logger.warning(
            "homeservers[].signingKeyPath of %s is not set: requests to other servers"
            " are not signed, so only servers that still have the old routes give us"
            " media. Set it to the homeserver's signing key file.",
            domain.name,
        )
        return
    try:
        keys = await signer.keys()
        status, document = await client.request_json(
            "GET",
            domain.cs_api.rstrip("/") + "/_matrix/key/v2/server",
            timeout_s=domain.timeouts.client_server_timeout_seconds,
        )
    except ConfigError as error:
        logger.error("%s", error)
        return
    except UpstreamUnavailable as error:
        logger.warning(
            "The signing key %s could not be compared with what %s publishes: %s",
            path,
            domain.cs_api,
            error.reason,
        )
        return
    if status != 200:
        logger.warning(
            "The signing key %s could not be compared: %s answered %d to"
            " /_matrix/key/v2/server",
            path,
            domain.cs_api,
            status,
        )
        return
    for finding in check_own_key(domain.name, str(Path(path)), keys[0], document):
        logger.error("%s", finding)
