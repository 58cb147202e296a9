"""How the routes of Synapse's admin API are made."""

from __future__ import annotations

from mmr.http.routing import Handler, Route
from mmr.types import Access

_PREFIX = "/_synapse/admin/v1"


def admin_route(
    method: str,
    path: str,
    action: str,
    handler: Handler,
    access: Access = Access.USER,
) -> Route:
    """One route. Bodies are ignored: Synapse's parameters are in the query.

    The handler finds out whether the user is an admin, and of what.
    """
    return Route(
        methods=(method,),
        path=_PREFIX + path,
        action=action,
        access=access,
        handler=handler,
    )
