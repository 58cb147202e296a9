"""Large objects go to S3 in parts, some of them while the rest still comes in.

An object of parts is visible only when all are there and S3 was told so: what goes out
early can be taken back (design §6).
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from mmr.datastores.s3_put import Put
from mmr.datastores.s3_spool import Body
from mmr.util.threads import Runner

logger = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
"""Of 10,000 parts at most: 160 GB."""
_PARTS_AT_ONCE = 4


class Parts:
    """One multipart upload. The file holds all bytes until it has ended.

    Args:
        put: Where it goes.
        pool: Every part is a job of its own.
        unfinished: Holds the upload's id while it runs.
    """

    def __init__(self, put: Put, pool: Runner, unfinished: set[str]) -> None:
        self._put = put
        self._pool = pool
        self._unfinished = unfinished
        self._upload_id: str | None = None
        self._waiting: deque[tuple[int, int, Body]] = deque()
        self._offered = 0
        self._done: list[dict[str, Any]] = []
        self._workers = 0
        self._waiters: list[Deferred[None]] = []
        self._error: Exception | None = None
        self._is_over = False

    @property
    def has_failed(self) -> bool:
        """Whether a part could not be put."""
        return self._error is not None

    def offer(self, body: Body) -> None:
        """So much of the object is there: put the parts that are full."""
        while body.size - self._offered >= PART_BYTES:
            self._add(body, PART_BYTES)
        self._start_workers()

    async def finish(self, body: Body) -> None:
        """Put the rest and make the object visible.

        Raises:
            AlreadyThere, NotConfirmed: see there.
            BotoCoreError, ClientError: what boto3 raises.
        """
        self.offer(body)
        if body.size > self._offered:
            self._add(body, body.size - self._offered)
            self._start_workers()
        await self._workers_ended()
        if self._error is not None:
            raise self._error
        assert self._upload_id is not None
        await self._pool.run(self._put.complete, self._upload_id, self._done, body.size)
        self._unfinished.discard(self._upload_id)

    async def abort(self) -> None:
        """Give it up. Does not fail: the sweep tries again."""
        self._is_over = True
        self._waiting.clear()
        # A part that comes after the abort would stay.
        await self._workers_ended()
        upload_id = self._upload_id
        if upload_id is None:
            return
        try:
            await self._pool.run(self._put.abort, upload_id)
        except Exception as error:
            logger.warning(
                "The multipart upload of %s could not be aborted (%s); the sweep will "
                "try again.",
                self._put.target["Key"],
                error,
            )
        finally:
            self._unfinished.discard(upload_id)

    def _add(self, body: Body, length: int) -> None:
        self._waiting.append((self._offered, length, body))
        self._offered += length

    def _start_workers(self) -> None:
        if self._is_over:
            return
        # The first worker begins the upload; the others come when that is done.
        most = 1 if self._upload_id is None else _PARTS_AT_ONCE
        for _ in range(min(most - self._workers, len(self._waiting))):
            self._workers += 1
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            if self._upload_id is None:
                self._upload_id = await self._pool.run(self._put.begin_parts)
                self._unfinished.add(self._upload_id)
                self._start_workers()
            while self._waiting and not self._is_over:
                start, length, body = self._waiting.popleft()
                number = start // PART_BYTES + 1
                part = await self._pool.run(
                    self._put.part, self._upload_id, number, body, start, length
                )
                self._done.append(part)
        except Exception as error:
            self._error = self._error or error
            self._is_over = True
            self._waiting.clear()
        finally:
            self._workers -= 1
            if not self._workers:
                self._wake()

    async def _workers_ended(self) -> None:
        while self._workers:
            # Whoever is cancelled here stops waiting; the workers go on.
            waiter: Deferred[None] = Deferred(lambda _: None)
            self._waiters.append(waiter)
            await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)
