"""``…/admin/media/…/attributes``: what media is for (mmr-http-api.md §11.10)."""

from __future__ import annotations

from mmr.auth.sessions import Sessions
from mmr.errors import bad_request, not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.audit import AuditLog
from mmr.rest.admin import parameters
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import actor_of, reach_of_server
from mmr.rest.media_path import parse_mxc
from mmr.storage.attributes import AttributeStore, Purpose
from mmr.storage.media import MediaStore
from mmr.types import Access, Mxc


class AttributesServlet:
    """For repository admins, and for the origin's own (D35)."""

    def __init__(
        self,
        attributes: AttributeStore,
        media: MediaStore,
        sessions: Sessions,
        audit: AuditLog,
    ) -> None:
        self._attributes = attributes
        self._media = media
        self._sessions = sessions
        self._audit = audit

    def routes(self) -> list[Route]:
        """The routes; MMR 1.2's setter has a path of its own."""
        return [
            Route(
                methods=(method,),
                path=f"{prefix}/media/:server/:media_id/attributes{end}",
                action=action,
                access=Access.USER,
                handler=handler,
                reads_body=method == "POST",
            )
            for prefix in ADMIN_PREFIXES
            for method, end, action, handler in (
                ("GET", "", "get_media_attributes", self.on_get),
                ("POST", "", "set_media_attributes", self.on_set),
                ("POST", "/set", "set_media_attributes", self.on_set),
            )
        ]

    async def on_get(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """The attributes of media that is here."""
        mxc = await self._permitted(request, server, media_id)
        if await self._media.get_media(mxc.origin, mxc.media_id) is None:
            raise not_found()
        purpose = await self._attributes.get_purpose(mxc.origin, mxc.media_id)
        return JsonResponse({"purpose": purpose.value})

    async def on_set(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Response:
        """Set them, also ahead of the media itself."""
        mxc = await self._permitted(request, server, media_id)
        body = await request.body.json_object()
        try:
            purpose = Purpose(body.get("purpose"))
        except ValueError:
            raise bad_request("unknown purpose") from None
        await self._attributes.set_purpose(mxc.origin, mxc.media_id, purpose)
        await self._audit.note(
            actor_of(request),
            f"set_purpose_{purpose.value}",
            str(mxc),
            parameters.reason(request.query),
        )
        return JsonResponse({"purpose": purpose.value})

    async def _permitted(
        self, request: MediaRequest, server: str, media_id: str
    ) -> Mxc:
        mxc = parse_mxc(server, media_id)
        await reach_of_server(request, self._sessions, mxc.origin)
        return mxc
