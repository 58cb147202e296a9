"""``…/admin/tasks``: background tasks and how far they are (§11.7)."""

from __future__ import annotations

from typing import Any

import attrs

from mmr.errors import bad_request, not_found
from mmr.http.parameters import parse_integer
from mmr.http.request import MediaRequest
from mmr.http.responses import JsonResponse, Response
from mmr.http.routing import Route
from mmr.media.audit import AuditLog
from mmr.rest.admin import parameters
from mmr.rest.admin.paths import ADMIN_PREFIXES
from mmr.rest.admin.rights import actor_of
from mmr.storage.tasks import Task, TaskStore
from mmr.tasks.engine import TaskEngine
from mmr.types import Access

_MAX_LISTED = 1000


class TasksServlet:
    """For repository admins."""

    def __init__(self, store: TaskStore, engine: TaskEngine, audit: AuditLog) -> None:
        self._store = store
        self._engine = engine
        self._audit = audit

    def routes(self) -> list[Route]:
        """The routes. Literal parts win over ``:task_id``."""
        handlers = (
            ("GET", "/all", "list_all_background_tasks", self.on_all),
            ("GET", "/unfinished", "list_unfinished_background_tasks", self.on_open),
            ("GET", "/:task_id", "get_background_task", self.on_get),
            ("POST", "/:task_id/cancel", "cancel_background_task", self.on_cancel),
        )
        return [
            Route(
                methods=(method,),
                path=f"{prefix}/tasks{path}",
                action=action,
                access=Access.REPO_ADMIN,
                handler=handler,
            )
            for prefix in ADMIN_PREFIXES
            for method, path, action, handler in handlers
        ]

    async def on_all(self, request: MediaRequest) -> Response:
        """The newest tasks, finished or not."""
        return JsonResponse([_shown(t) for t in await self._store.get_all(_MAX_LISTED)])

    async def on_open(self, request: MediaRequest) -> Response:
        """Tasks that have not ended."""
        tasks = await self._store.get_unfinished(_MAX_LISTED)
        return JsonResponse([_shown(task) for task in tasks])

    async def on_get(self, request: MediaRequest, task_id: str) -> Response:
        """One task."""
        return JsonResponse(_shown(await self._find(task_id)))

    async def on_cancel(self, request: MediaRequest, task_id: str) -> Response:
        """Have a task stop where it is; one that has ended stays as it is."""
        task = await self._find(task_id)
        reason = parameters.reason(request.query)
        if not task.is_finished:
            await self._engine.cancel(task)
            target = f"task {task.id} ({task.name})"
            await self._audit.note(actor_of(request), "cancel_task", target, reason)
        return JsonResponse({})

    async def _find(self, task_id: str) -> Task:
        number = parse_integer(task_id)
        if number is None:
            raise bad_request("invalid task ID")
        task = await self._store.get(number) if 0 < number < 2**31 else None
        if task is None:
            raise not_found()
        return task


def _shown(task: Task) -> dict[str, Any]:
    """MMR's keys, and our progress beside them."""
    return {
        "task_id": task.id,
        "task_name": task.name,
        "params": task.params,
        "start_ts": task.start_ts,
        "end_ts": task.end_ts,
        "is_finished": task.is_finished,
        "error_message": task.error,
        "progress": attrs.asdict(task.progress),
    }
