"""``GET …/admin/federation/test/…``: how another server is found (§11.5)."""

from __future__ import annotations

from mmr.errors import bad_request
from mmr.federation.version import FederationTest
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.types import Access, is_valid_server_name


class FederationTestServlet:
    """Lets admins see each step of a server's discovery."""

    def __init__(self, test: FederationTest) -> None:
        self._test = test

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"/_matrix/media/{prefix}/admin/federation/test/:server_name",
                action="federation_test",
                access=Access.REPO_ADMIN,
                handler=self.on_get,
            )
            for prefix in ("unstable", "unstable/io.t2bot.media")
        ]

    async def on_get(self, request: MediaRequest, server_name: str) -> Response:
        """The steps, and the version that the server answers with."""
        if not is_valid_server_name(server_name):
            raise bad_request("invalid server name")
        return JsonResponse(await self._test.run(server_name))
