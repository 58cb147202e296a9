"""Sending clients to the object store for the bytes (mmr-http-api.md §5.4)."""

from __future__ import annotations

from urllib.parse import quote

from mmr.datastores.base import Redirecting
from mmr.datastores.registry import Datastores
from mmr.http.headers import describe_media
from mmr.http.request import MediaRequest
from mmr.http.responses import RedirectResponse
from mmr.media.content import ObjectRow
from mmr.types import Access

_URL_SAFE = "!$&'()*+,;=:@/%-._~?"


class Redirects:
    """Decides whether a store may answer in our place.

    Callers have done everything by then: authentication, freeze, quarantine, limits.
    """

    def __init__(self, datastores: Datastores) -> None:
        self._datastores = datastores

    async def find(
        self,
        request: MediaRequest,
        row: ObjectRow,
        *,
        content_type: str | None,
        name: str | None,
        as_attachment: bool = False,
        is_warm: bool,
    ) -> RedirectResponse | None:
        """The redirect, or None when the bytes go through us.

        Args:
            is_warm: The bytes are in memory here.

        Raises:
            MatrixError: when the store can't give a URL now.
        """
        store: object = self._datastores.find(row.datastore_id)
        if not isinstance(store, Redirecting) or not store.redirects:
            return None
        if is_warm and not store.redirects_when_cached:
            return None
        # Who has the bytes already gets 304 here, without another round trip.
        if not may_redirect(request) or request.header(b"if-none-match") is not None:
            return None
        sent_type, disposition = describe_media(content_type, name, as_attachment)
        url = await store.redirect_url(row.location, sent_type, disposition)
        return RedirectResponse(quote(url, safe=_URL_SAFE))


def may_redirect(request: MediaRequest) -> bool:
    """Whether the caller follows redirects: new routes always do (§5.1)."""
    route = request.route
    if route is not None and (
        route.access is Access.FEDERATION
        or route.path.startswith("/_matrix/client/v1/")
    ):
        return True
    return request.query.boolean(
        "allow_redirect", False, "allow_redirect flag does not appear to be a boolean"
    )
