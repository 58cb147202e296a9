"""``…/admin/…/export``: archives of users' and servers' media (mmr-http-api.md §11.8).

The id of an export is a secret that needs no token beside it. A token that is there all
the same must be of somebody who may have the export (R49).
"""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, forbidden, not_found
from mmr.http.parameters import parse_integer
from mmr.http.request import MediaRequest
from mmr.http.responses import NO_STORE, JsonResponse, MediaResponse, Response
from mmr.http.routing import Handler, Route
from mmr.rest.admin.export_page import deleted_page, export_page
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import actor_of, reach_of_server
from mmr.storage.exports import Export
from mmr.tasks.export_downloads import ExportDownloads
from mmr.tasks.exports import Exports
from mmr.types import Access, is_valid_server_name, server_of_user

_ANYBODY = "@export-link"
"""Who knows an id, in the audit log."""
# Parts of which the page says whether they can be had; the rest say so when asked for.
_MOST_CHECKED = 100


class ExportsServlet:
    """For repository admins; with ``archiving.selfService`` for the owners as well."""

    def __init__(
        self, exports: Exports, downloads: ExportDownloads, sessions: Sessions
    ) -> None:
        self._exports = exports
        self._downloads = downloads
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes. MMR 1.2 deleted at ``…/delete``; a page's form can only post."""
        one = "/export/:export_id"
        user, anybody = Access.USER, Access.OPTIONAL
        handlers: tuple[tuple[str, str, str, Access, Handler], ...] = (
            ("POST", "/user/:user_id/export", "export_user_data", user, self.on_user),
            (
                "POST",
                "/server/:server_name/export",
                "export_server_data",
                user,
                self.on_server,
            ),
            ("GET", f"{one}/view", "view_export", anybody, self.on_view),
            (
                "GET",
                f"{one}/metadata",
                "get_export_metadata",
                anybody,
                self.on_metadata,
            ),
            ("GET", f"{one}/part/:part", "download_export_part", anybody, self.on_part),
            ("DELETE", one, "delete_export", anybody, self.on_delete),
            ("DELETE", f"{one}/delete", "delete_export", anybody, self.on_delete),
            ("POST", f"{one}/delete", "delete_export", anybody, self.on_delete_form),
        )
        return [
            Route(
                methods=(method,),
                path=prefix + path,
                action=action,
                access=access,
                handler=handler,
            )
            for prefix in ADMIN_PREFIXES
            for method, path, action, access, handler in handlers
        ]

    async def on_user(self, request: MediaRequest, user_id: str) -> Response:
        """Start to export what a user uploaded."""
        _check_enabled(request)
        if server_of_user(user_id) is None:
            raise bad_request("invalid user ID", "M_INVALID_PARAM")
        if not request.requester.is_admin:
            _check_self_service(request)
            if request.requester.user_id != user_id:
                raise forbidden("cannot export data for another user")
        return await self._start(request, user_id)

    async def on_server(self, request: MediaRequest, server_name: str) -> Response:
        """Start to export what there is of a server."""
        _check_enabled(request)
        if not is_valid_server_name(server_name):
            raise bad_request("invalid server name")
        if not request.requester.is_admin:
            _check_self_service(request)
            if server_name != request.host:
                raise forbidden("cannot export data for another server")
            await reach_of_server(request, self._sessions, server_name)
        return await self._start(request, server_name)

    async def _start(self, request: MediaRequest, entity: str) -> Response:
        export_id, task_id = await self._exports.start(
            entity,
            actor=actor_of(request),
            is_own=not request.requester.is_admin,
            include_s3_urls=request.query.text("s3_urls") != "false",
            include_data=request.query.text("include_data") != "false",
        )
        return JsonResponse({"export_id": export_id, "task_id": task_id})

    async def on_view(self, request: MediaRequest, export_id: str) -> Response:
        """A page for people."""
        export = await self._find(request, export_id)
        withheld = {
            part
            for part in export.parts[:_MOST_CHECKED]
            if await self._exports.is_withheld(export, part)
        }
        task = await self._exports.task_of(export)
        return export_page(export, withheld, task, self._exports.expires_ts(export))

    async def on_metadata(self, request: MediaRequest, export_id: str) -> Response:
        """The same for programs."""
        export = await self._find(request, export_id)
        return JsonResponse(
            {
                "entity": export.entity,
                "parts": [
                    {
                        "index": part.index,
                        "size": part.size_bytes,
                        "name": part.file_name,
                    }
                    for part in export.parts
                ],
            }
        )

    async def on_part(
        self, request: MediaRequest, export_id: str, part: str
    ) -> Response:
        """One part, or a range of it."""
        export = await self._find(request, export_id)
        index = parse_integer(part)
        if index is None:
            raise bad_request("invalid part index")
        found = next((each for each in export.parts if each.index == index), None)
        if found is None:
            raise not_found()
        if not await self._downloads.begin(request, export, found):
            raise not_found("Something in this part is quarantined")
        return MediaResponse(
            content_type="application/gzip",
            name=found.file_name,
            size=found.size_bytes,
            as_attachment=True,
            source=lambda: self._exports.open(found),
            open_range_bytes=0,
            cache_control=NO_STORE,
        )

    async def on_delete(self, request: MediaRequest, export_id: str) -> Response:
        """Delete it, parts and all."""
        await self._delete(request, export_id)
        return JsonResponse({})

    async def on_delete_form(self, request: MediaRequest, export_id: str) -> Response:
        """The same from the page."""
        return deleted_page(await self._delete(request, export_id))

    async def _delete(self, request: MediaRequest, export_id: str) -> Export:
        export = await self._find(request, export_id)
        actor = actor_of(request) if request.requester.user_id else _ANYBODY
        await self._exports.delete(export, actor)
        return export

    async def _find(self, request: MediaRequest, export_id: str) -> Export:
        """The export, if this caller may have it (D22).

        Raises:
            MatrixError: 404 for an unknown id, and for another homeserver's export
                (R75); 403 for somebody else's.
        """
        _check_enabled(request)
        export = await self._exports.find(export_id)
        if export is None:
            raise not_found()
        requester = request.requester
        if requester.is_admin:
            return export
        if not self._exports.is_visible_at(export, request.host):
            raise not_found()
        if requester.user_id and not await self._is_owner(request, export.entity):
            raise forbidden("This is somebody else's export")
        return export

    async def _is_owner(self, request: MediaRequest, entity: str) -> bool:
        if entity.startswith("@"):
            return request.requester.user_id == entity
        return entity == request.host and await self._sessions.is_local_admin(request)


def _check_enabled(request: MediaRequest) -> None:
    if not request.domain.archiving.enabled:
        raise bad_request("archiving is not enabled")


def _check_self_service(request: MediaRequest) -> None:
    if not request.domain.archiving.self_service:
        raise forbidden("Only repository admins can export (archiving.selfService)")
