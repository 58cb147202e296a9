"""The bounded pool that reads pages in confined worker processes (R23, R35)."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from twisted.internet.interfaces import IReactorFromThreads

from mmr.errors import unavailable
from mmr.previews.model import PageResult, Preview, PreviewOptions
from mmr.previews.page import MAX_PARSED_BYTES
from mmr.previews.protocol import Job, decode_result
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerLost, WorkerPlace
from mmr.util.threads import WorkerPool

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "mmr.previews.worker")
LIMITS = WorkerLimits(
    address_space=512 << 20,
    cpu_seconds=5,
    wall_seconds=10.0,
    file_bytes=0,
    jobs=1000,
)
"""The largest page that is parsed takes about two seconds and 100 MiB."""


class PreviewParser:
    """Runs `preview_page` and `preview_oembed` in worker processes.

    Args:
        workers: Processes at most; each is started when it is first needed.
        max_waiting: Jobs that may wait; one more is refused with 503.
        reactor: Where results are delivered.
        temp_dir: For the workers' empty folders, and pages on their way in unnamed
            files.
        limits: What one worker may use.
        command: The worker program.
    """

    def __init__(
        self,
        workers: int,
        max_waiting: int,
        reactor: IReactorFromThreads,
        temp_dir: Path,
        limits: WorkerLimits = LIMITS,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._reactor = reactor
        self._temp_dir = temp_dir
        self._threads = WorkerPool("previews", workers, max_waiting, reactor)
        self._places = [
            WorkerPlace("preview", command, limits, temp_dir) for _ in range(workers)
        ]
        # As many as threads, so no thread waits here for long.
        self._idle: SimpleQueue[WorkerPlace] = SimpleQueue()
        for place in self._places:
            self._idle.put(place)
        self._is_started = False
        self._is_stopped = False

    @property
    def waiting(self) -> int:
        """Jobs that have no worker yet."""
        return self._threads.waiting

    async def parse(
        self, html: bytes, content_type: str, url: str, options: PreviewOptions
    ) -> PageResult:
        """Make a preview of a page; arguments as for `preview_page`.

        A page that a worker can't stand gives a preview with nothing but its URL.

        Raises:
            MatrixError: 503 when too much work waits, or no worker can be had.
        """
        smallest = PageResult(Preview(url))
        job = Job(url, content_type, options)
        return await self._run(job, html[:MAX_PARSED_BYTES]) or smallest

    async def parse_oembed(
        self, answer: bytes, url: str, provider_name: str, options: PreviewOptions
    ) -> Preview | None:
        """Make a preview of an oEmbed answer; arguments as for `preview_oembed`.

        Raises:
            MatrixError: as for `parse`.
        """
        job = Job(url, provider_name, options, is_oembed=True)
        result = await self._run(job, answer)
        return None if result is None else result.preview

    async def _run(self, job: Job, data: bytes) -> PageResult | None:
        if self._is_stopped:
            raise unavailable("The server is shutting down")
        if not self._is_started:
            self._is_started = True
            self._threads.start()
        return await self._threads.run(self._work, job, data)

    def _work(self, job: Job, data: bytes) -> PageResult | None:
        """In a thread."""
        place = self._idle.get()
        try:
            if self._is_stopped:
                raise unavailable("The server is shutting down")
            with tempfile.TemporaryFile(dir=self._temp_dir, buffering=0) as page:
                self._write(page, data)
                return place.exchange(
                    job.encode(),
                    (page.fileno(),),
                    lambda answer: decode_result(answer, job.url),
                )
        except WorkerLost:
            return None
        finally:
            self._idle.put(place)

    def _write(self, page: IO[bytes], data: bytes) -> None:
        """All of it: half a page would make a preview as well, and a lasting one."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[page.write(rest) :]
        except OSError as error:
            logger.error(
                "No preview: %s in %s. Free space on that disk, or name another folder"
                " in TMPDIR.",
                error,
                self._temp_dir,
            )
            raise unavailable(
                "The server has no room for previews at the moment"
            ) from error

    async def stop(self) -> None:
        """Refuse what waits, end what runs, and wait until the workers are gone."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if not self._is_started:
            return
        for place in self._places:
            place.interrupt()
        # The threads may be busy, and their queue full.
        closing = WorkerPool("previews (end)", 1, 0, self._reactor)
        closing.start()
        await closing.run(self._close)
        closing.stop()
        self._threads.stop()

    def _close(self) -> None:
        """In a thread: what was running gives its place back first."""
        for place in [self._idle.get() for _ in self._places]:
            place.close()
            self._idle.put(place)
