"""Finds out which server is asking: ``X-Matrix`` signatures (R50, R51, R55)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import Counter

from mmr.auth.credentials import AuthRequest
from mmr.auth.lookup_limit import LookupLimit
from mmr.config import Config
from mmr.crypto.key_fetchers import KeysUnavailable
from mmr.crypto.key_ring import KeyRing
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import BadXMatrix, XMatrix, parse_x_matrix, request_object
from mmr.errors import MatrixError
from mmr.metrics import REGISTRY

logger = logging.getLogger(__name__)

_WITHOUT_DESTINATION = Counter(
    "media_federation_without_destination_total",
    "Verified requests of servers that don't say for whom their signature is",
    registry=REGISTRY,
)


class _Refused(Exception):
    """The request isn't proven; the reason is for the log."""


class XMatrixVerifier:
    """Checks the signatures of a federation request.

    Args:
        config: Gives the configuration of this moment.
        keys: The public keys of other servers.
        lookups: What strangers may make us ask.
        on_proof: Told the name of each server that has proven who it is.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        keys: KeyRing,
        lookups: LookupLimit,
        on_proof: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._config = config
        self._keys = keys
        self._lookups = lookups
        self._on_proof = on_proof

    async def verify(self, request: AuthRequest) -> str:
        """The name, in lower case, of the server that signed the request.

        Raises:
            MatrixError: 401 with one body whatever is wrong (D25), another when there
                is no signature at all; 429 for too many unknown servers (R55).
        """
        try:
            entries = parse_x_matrix(request.head.headers.get(b"authorization", ()))
            if not entries:
                raise _no_auth()
            self._check_names(entries[0], request.domain.name)
            for entry in entries:
                await self._check_signature(entry, request)
        except (_Refused, BadXMatrix, KeysUnavailable) as e:
            logger.info("Refused a federation request: %s", e)
            raise _bad_auth() from e
        if entries[0].destination is None:
            _WITHOUT_DESTINATION.inc()
        self._on_proof(entries[0].origin)
        # Other lists of servers, such as the ignored ones, are in lower case.
        return entries[0].origin.lower()

    def _check_names(self, entry: XMatrix, own_name: str) -> None:
        if entry.origin.lower() == own_name:
            raise _Refused(f"it says to come from {own_name} itself")
        if entry.destination is None:
            if self._config().federation.require_destination:
                raise _Refused(f"{entry.origin} names no destination")
        elif entry.destination != own_name:
            raise _Refused(f"{entry.origin} signed it for another server than us")

    async def _check_signature(self, entry: XMatrix, request: AuthRequest) -> None:
        # Our own name, whether the header says so or not: what was signed for another
        # server must not work here (R50).
        message = canonical_json(
            request_object(
                request.head.method.decode("ascii"),
                request.head.target.decode("ascii"),
                entry.origin,
                request.domain.name,
            )
        )
        if self._keys.needs_fetch(entry.origin, entry.key_id):
            self._lookups.spend(request.client_address)
        key = await self._keys.verify_key(entry.origin, entry.key_id)
        if not key.is_signed(message, entry.signature):
            raise _Refused(f"the signature of {entry.origin} is wrong")


def _no_auth() -> MatrixError:
    return MatrixError(
        401, "M_UNAUTHORIZED", "no auth provided (required)", "M_MISSING_TOKEN"
    )


def _bad_auth() -> MatrixError:
    return MatrixError(
        401, "M_UNAUTHORIZED", "invalid auth provided (required)", "M_BAD_REQUEST"
    )
