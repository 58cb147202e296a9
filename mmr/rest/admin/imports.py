"""``…/admin/import``: archives of media that comes here (mmr-http-api.md §11.9)."""

from __future__ import annotations

from mmr.errors import bad_request
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Handler, Route
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import actor_of
from mmr.tasks.imports import Imports
from mmr.types import Access


class ImportsServlet:
    """For repository admins."""

    def __init__(self, imports: Imports) -> None:
        self._imports = imports

    def routes(self) -> list[Route]:
        """The routes. Bodies are parts of archives, as long as they like."""
        handlers: tuple[tuple[str, str, Handler, bool], ...] = (
            ("", "start_import", self.on_start, True),
            ("/:import_id/part", "append_to_import", self.on_part, True),
            ("/:import_id/close", "stop_import", self.on_close, False),
        )
        return [
            Route(
                methods=("POST",),
                path=f"{prefix}/import{path}",
                action=action,
                access=Access.REPO_ADMIN,
                handler=handler,
                reads_body=reads_body,
            )
            for prefix in ADMIN_PREFIXES
            for path, action, handler, reads_body in handlers
        ]

    async def on_start(self, request: MediaRequest) -> Response:
        """Begin an import; the body is its first part."""
        _check_enabled(request)
        import_id, task_id = await self._imports.start(
            request.domain, request.body, actor_of(request)
        )
        return JsonResponse({"import_id": import_id, "task_id": task_id})

    async def on_part(self, request: MediaRequest, import_id: str) -> Response:
        """Add a part, in any order."""
        _check_enabled(request)
        await self._imports.append(request.domain, import_id, request.body)
        return JsonResponse({})

    async def on_close(self, request: MediaRequest, import_id: str) -> Response:
        """No more parts come. Answers at once."""
        _check_enabled(request)
        await self._imports.close(import_id)
        return JsonResponse({})


def _check_enabled(request: MediaRequest) -> None:
    if not request.domain.archiving.enabled:
        raise bad_request("archiving is not enabled")
