"""``GET …/admin/audit``: what admins did (R90)."""

from __future__ import annotations

from mmr.errors import invalid_param
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.storage.audit import AuditEntry, AuditStore
from mmr.types import Access

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000


class AuditServlet:
    """For repository admins."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(
                methods=("GET",),
                path=f"{prefix}/audit",
                action="list_audit",
                access=Access.REPO_ADMIN,
                handler=self.on_get,
            )
            for prefix in ADMIN_PREFIXES
        ]

    async def on_get(self, request: MediaRequest) -> Response:
        """A page, newest first; ``next`` is the ``from`` of the page behind it."""
        query = request.query
        limit = query.integer("limit", _DEFAULT_LIMIT, "Error parsing limit")
        start = query.integer("from", 0, "Error parsing from")
        if limit < 1 or start < 0:
            raise invalid_param("limit has to be at least 1, and from not negative")
        limit = min(limit, _MAX_LIMIT)
        entries = await self._store.get_page(
            start or None,
            limit,
            actor=query.text("actor"),
            action=query.text("action"),
            target=query.text("target"),
        )
        answer: dict[str, object] = {"entries": [_shown(entry) for entry in entries]}
        if len(entries) == limit:
            answer["next"] = entries[-1].id
        return JsonResponse(answer)


def _shown(entry: AuditEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "started_ts": entry.started_ts,
        "finished_ts": entry.finished_ts or None,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "reason": entry.reason,
        "affected": entry.affected,
        "bytes": entry.bytes,
        "skipped": entry.skipped,
        "error": entry.error,
    }
