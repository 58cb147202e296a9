"""Key documents of other servers, for `mmr.crypto.key_fetchers`."""

from __future__ import annotations

from mmr.crypto.key_fetchers import KeysUnavailable
from mmr.errors import MatrixError
from mmr.federation.client import FederationClient, FederationRequest
from mmr.http.guard import Purpose

MAX_BYTES = 128 * 1024
_PURPOSE = Purpose("server keys", max_bytes=MAX_BYTES, total_seconds=10.0)


class KeyDocuments:
    """Asks servers for documents about keys. Its `get` is a `FederationGet`."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def get(self, server_name: str, path: str) -> bytes:
        """The document. Unsigned, and whatever the back-off: who asks us is alive.

        Raises:
            KeysUnavailable: there is none to be had.
        """
        request = FederationRequest(server_name, path, _PURPOSE, heeds_back_off=False)
        try:
            return await self._client.read(request)
        except MatrixError as error:
            raise KeysUnavailable(f"{server_name}: {error}") from error
