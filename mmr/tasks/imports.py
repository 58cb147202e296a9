"""Imports as the API sees them: started, added to, closed (mmr-http-api.md §11.9).

Any process takes parts. They wait in a datastore, where the process that does tasks
finds them, also after a restart.
"""

from __future__ import annotations

import re

from twisted.internet.defer import CancelledError

from mmr.cluster.ids import IdGenerator
from mmr.datastores.base import Datastore
from mmr.datastores.registry import Datastores, HasDatastores
from mmr.errors import bad_request, not_found, rate_limited, unavailable
from mmr.media.audit import AuditLog
from mmr.media.uploads import UploadBody
from mmr.storage.imports import ImportGone, ImportStore, TooManyImports
from mmr.storage.intents import Intent, IntentStore
from mmr.storage.objects import ObjectName
from mmr.tasks.engine import TaskEngine
from mmr.tasks.import_data import NAME
from mmr.types import Kind
from mmr.util.clock import Clock

_IMPORT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_GZIP = b"\x1f\x8b"
_MOST_OPEN = 20
_MOST_WAITING = 1000
_RETRY_MS = 60_000


class Imports:
    """All imports of one database."""

    def __init__(
        self,
        *,
        store: ImportStore,
        intents: IntentStore,
        datastores: Datastores,
        engine: TaskEngine,
        audit: AuditLog,
        ids: IdGenerator,
        clock: Clock,
    ) -> None:
        self._store = store
        self._intents = intents
        self._datastores = datastores
        self._engine = engine
        self._audit = audit
        self._ids = ids
        self._clock = clock

    async def start(
        self, section: HasDatastores, body: UploadBody, actor: str
    ) -> tuple[str, int]:
        """Begin an import with its first part.

        Args:
            section: Says where archives are kept.

        Returns:
            The id of the import, which is a secret, and the id of its task.

        Raises:
            MatrixError: 400, 429 when enough are open already, 5xx.
        """
        intent, size = await self._keep(section, body)
        import_id = self._ids.unique_id()
        # MMR 1.2 and its documentation call it import_id, MMR 1.3 export_id.
        params = {"import_id": import_id, "export_id": import_id}
        try:
            task = await self._store.create(
                import_id,
                (intent, size),
                (NAME, params),
                self._clock.time_ms(),
                _MOST_OPEN,
            )
        except TooManyImports:
            await self._intents.sweep(intent)
            raise rate_limited(_RETRY_MS) from None
        except ImportGone:
            raise unavailable("The upload took too long. Try again.") from None
        await self._audit.note(actor, "import", f"task {task.id}")
        await self._engine.wake(task.id)
        return import_id, task.id

    async def append(
        self, section: HasDatastores, import_id: str, body: UploadBody
    ) -> None:
        """Add a part, in whatever order.

        Raises:
            MatrixError: 404 when nothing takes it (any more), 400, 429, 5xx.
        """
        await self._check(import_id)
        intent, size = await self._keep(section, body)
        try:
            task_id = await self._store.add_part(import_id, intent, size, _MOST_WAITING)
        except TooManyImports:
            await self._intents.sweep(intent)
            raise rate_limited(_RETRY_MS) from None
        except ImportGone:
            await self._intents.sweep(intent)
            raise not_found() from None
        await self._engine.wake(task_id)

    async def close(self, import_id: str) -> None:
        """Let the import end with what is there. Waits for nothing (D66).

        Raises:
            MatrixError: 404.
        """
        _check_id(import_id)
        task_id = await self._store.close(import_id)
        if task_id is None:
            raise not_found()
        await self._engine.wake(task_id)

    async def _check(self, import_id: str) -> None:
        """Before a part is read: whether anything would take it."""
        _check_id(import_id)
        found = await self._store.get(import_id)
        if found is None or found.is_closed:
            raise not_found()

    async def _keep(
        self, section: HasDatastores, body: UploadBody
    ) -> tuple[Intent, int]:
        """Store a part: it is durable, and named by an intent."""
        datastore = await self._datastores.choose(Kind.ARCHIVES, section)
        writer = await datastore.create(body.length)
        try:
            is_first = True
            async for piece in body:
                if is_first and not _GZIP.startswith(piece[:2]):
                    break
                is_first = False
                await writer.write(piece)
            if is_first:
                raise bad_request("expected a part of an archive, which is a .tgz file")
            sha256 = await writer.seal()
            name = ObjectName(datastore.id, _location(datastore, self._ids))
            intent = Intent(name, sha256)
            await self._intents.add(intent)
            try:
                await writer.publish(name.location)
            except CancelledError:
                # A thread may be at it still: the sweep gives it up, later.
                raise
            except BaseException:
                await self._intents.sweep(intent)
                raise
            return intent, writer.size
        finally:
            await writer.discard()


def _check_id(import_id: str) -> None:
    if not _IMPORT_ID.match(import_id):
        raise bad_request("invalid import ID")


def _location(datastore: Datastore, ids: IdGenerator) -> str:
    return datastore.location_of(ids.object_name())
