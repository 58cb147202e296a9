"""``…/admin/datastores``: what there is, and moving media about (§11.4)."""

from __future__ import annotations

from typing import Any

import attrs

from mmr.datastores.registry import Datastores
from mmr.errors import bad_request
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Handler, Route
from mmr.media.audit import AuditLog
from mmr.rest.admin import parameters
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import actor_of
from mmr.storage.datastore_totals import DatastoreTotal
from mmr.storage.stores import Stores
from mmr.tasks import transfer
from mmr.tasks.engine import TaskEngine
from mmr.types import Access
from mmr.util.clock import Clock

_MAX_LISTED = 1000


class DatastoresServlet:
    """For repository admins."""

    def __init__(
        self,
        datastores: Datastores,
        stores: Stores,
        engine: TaskEngine,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._datastores = datastores
        self._stores = stores
        self._engine = engine
        self._audit = audit
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            route
            for prefix in ADMIN_PREFIXES
            for route in (
                _route("GET", prefix, "", "list_datastores", self.on_list),
                _route(
                    "GET",
                    prefix,
                    "/:datastore_id/size_estimate",
                    "get_storage_estimate",
                    self.on_estimate,
                ),
                _route(
                    "GET",
                    prefix,
                    "/:datastore_id/failed_deletes",
                    "list_failed_deletes",
                    self.on_failed_deletes,
                ),
                _route(
                    "POST",
                    prefix,
                    "/:source_id/transfer_to/:target_id",
                    "datastore_transfer",
                    self.on_transfer,
                ),
            )
        ]

    async def on_list(self, request: MediaRequest) -> Response:
        """Every datastore of the whole configuration; sizes are ours to add."""
        totals = await self._stores.datastores.get_totals()
        none = DatastoreTotal(0, 0)
        return JsonResponse(
            {
                place.id: {
                    "type": place.type,
                    "uri": place.uri,
                    "size_bytes": totals.get(place.id, none).size_bytes,
                    "objects": totals.get(place.id, none).objects,
                }
                for place in self._datastores.places()
            }
        )

    async def on_estimate(self, request: MediaRequest, datastore_id: str) -> Response:
        """What a transfer would move. Zeros for a datastore that isn't there."""
        before_ts = self._before_ts(request)
        estimate = await self._stores.transfers.estimate(datastore_id, before_ts)
        return JsonResponse(attrs.asdict(estimate))

    async def on_failed_deletes(
        self, request: MediaRequest, datastore_id: str
    ) -> Response:
        """Objects that nothing refers to and that could not be deleted so far."""
        failing = await self._stores.object_deletes.get_failing(_MAX_LISTED)
        return JsonResponse(
            [
                {
                    "location": entry.name.location,
                    "since_ts": entry.since_ts,
                    "attempts": entry.attempts,
                    "last_error": entry.last_error,
                }
                for entry in failing
                if entry.name.datastore_id == datastore_id
            ]
        )

    async def on_transfer(
        self, request: MediaRequest, source_id: str, target_id: str
    ) -> Response:
        """Start to move what was last asked for before a time."""
        before_ts = self._before_ts(request)
        rate = request.query.integer(
            "bytes_per_second",
            transfer.DEFAULT_BYTES_PER_SECOND,
            "Error parsing bytes_per_second",
        )
        if rate < 0:
            raise bad_request("bytes_per_second can't be below zero")
        if source_id == target_id:
            raise bad_request("Source and target datastore cannot be the same")
        for name, datastore_id in (("Source", source_id), ("Target", target_id)):
            if self._datastores.find(datastore_id) is None:
                raise bad_request(f"{name} datastore does not appear to exist")
        if self._datastores.get(target_id).is_foreign:
            raise bad_request("Target datastore is only read")
        estimate: dict[str, Any] = attrs.asdict(
            await self._stores.transfers.estimate(source_id, before_ts)
        )
        reason = parameters.reason(request.query)
        params = transfer.TransferParams(source_id, target_id, before_ts, rate)
        task = await self._engine.submit(transfer.NAME, attrs.asdict(params))
        await self._audit.note(
            actor_of(request),
            "datastore_transfer",
            f"{source_id} to {target_id} (task {task.id})",
            reason,
            estimate["media_affected"] + estimate["thumbnails_affected"],
        )
        return JsonResponse({**estimate, "task_id": task.id})

    def _before_ts(self, request: MediaRequest) -> int:
        return parameters.before_ts(request, self._clock.time_ms())


def _route(method: str, prefix: str, path: str, action: str, handler: Handler) -> Route:
    return Route(
        methods=(method,),
        path=f"{prefix}/datastores{path}",
        action=action,
        access=Access.REPO_ADMIN,
        handler=handler,
    )
