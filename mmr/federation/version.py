"""What the admin's federation test tells (mmr-http-api.md §11.5)."""

from __future__ import annotations

import json
from typing import Any

from mmr.federation.client import FederationClient, FederationRequest
from mmr.federation.discovery import Discovery, Route
from mmr.federation.errors import Cause, RemoteFailed
from mmr.federation.switches import Switches
from mmr.http.guard import Purpose

_PURPOSE = Purpose("server version", max_bytes=64 * 1024, total_seconds=30.0)


class FederationTest:
    """Finds a server and asks for its version.

    Args:
        client: For the request.
        discovery: Finds it.
        switches: For the scheme in the answer.
    """

    def __init__(
        self, client: FederationClient, discovery: Discovery, switches: Switches
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._switches = switches

    async def run(self, server_name: str) -> dict[str, Any]:
        """MMR's three keys, and ``steps``: how the server was found.

        ``versions_response`` is null when it could not be had; ``failed_step`` and
        ``error`` then say why, for the admin alone.

        Raises:
            RemoteFailed: it is no server name.
        """
        found = await self._discovery.explain(server_name)
        answer: dict[str, Any] = {
            "base_url": self._base_url(found.routes[0]),
            "hostname": found.routes[0].host_header,
            "versions_response": None,
            "steps": [{"step": s.step, "result": s.result} for s in found.steps],
        }
        try:
            answer["versions_response"] = await self._version(server_name)
        except RemoteFailed as failure:
            answer |= {"failed_step": failure.step, "error": str(failure)}
        return answer

    def _base_url(self, route: Route) -> str:
        host = route.connect_host
        host = f"[{host}]" if ":" in host else host
        return f"{self._switches.scheme}://{host}:{route.port}"

    async def _version(self, server_name: str) -> dict[str, Any]:
        request = FederationRequest(
            server_name,
            "/_matrix/federation/v1/version",
            _PURPOSE,
            heeds_back_off=False,
        )
        try:
            value = json.loads(await self._client.read(request))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RemoteFailed(Cause.BROKEN, "document", "no JSON object")
        return value
