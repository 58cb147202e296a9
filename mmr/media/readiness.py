"""Whether this process can do its work at this moment (R97, D69)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, gatherResults

from mmr.datastores.registry import Datastores
from mmr.errors import MatrixError
from mmr.http.guard.waiting import within
from mmr.storage.database import Database
from mmr.util.clock import Clock
from mmr.util.shield import shield
from mmr.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 3.0


class _NoAnswer(Exception):
    """A test takes too long."""


class Readiness:
    """Tests the database and every datastore that takes objects.

    Anybody may ask: so the answer of one test is everybody's for five seconds, and what
    doesn't answer isn't asked again before it does.

    Args:
        db: The database.
        datastores: All that are configured.
        clock: For the age of the answer.
    """

    def __init__(self, db: Database, datastores: Datastores, clock: Clock) -> None:
        self._db = db
        self._datastores = datastores
        self._clock = clock
        self._faults: tuple[str, ...] = ()
        self._tested_at: float | None = None
        self._flights: SingleFlight[None, tuple[str, ...]] = SingleFlight()
        self._running: set[str] = set()

    async def faults(self) -> tuple[str, ...]:
        """What doesn't work, by name; the log has the reasons. Empty: all is well."""
        if not self._is_fresh:
            return await self._flights.run(None, self._test_all)
        return self._faults

    @property
    def _is_fresh(self) -> bool:
        tested_at = self._tested_at
        return (
            tested_at is not None
            and self._clock.monotonic() - tested_at < FRESH_SECONDS
        )

    async def _test_all(self) -> tuple[str, ...]:
        tests: dict[str, Callable[[], Awaitable[object]]] = {"database": self._db.probe}
        for store in self._datastores:
            if store.kinds:
                tests[f"datastore {store.id}"] = store.probe
        verdicts = await gatherResults(
            [Deferred.fromCoroutine(self._works(*test)) for test in tests.items()],
            consumeErrors=True,
        )
        faults = tuple(
            name for name, works in zip(tests, verdicts, strict=True) if not works
        )
        if faults != self._faults:
            logger.warning("Not ready: %s", ", ".join(faults) or "nothing any more")
        self._faults, self._tested_at = faults, self._clock.monotonic()
        return faults

    async def _works(self, name: str, test: Callable[[], Awaitable[object]]) -> bool:
        # A disk that hangs holds one thread of the pool, not one more at each request.
        if name in self._running:
            return False
        try:
            await within(
                self._clock, PATIENCE_SECONDS, self._run(name, test), _NoAnswer()
            )
        except (MatrixError, _NoAnswer) as error:
            logger.debug("%s: %r", name, error)
            return False
        return True

    async def _run(self, name: str, test: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            try:
                await test()
            finally:
                self._running.discard(name)

        self._running.add(name)
        await shield(run())
