"""Many previews leave nothing behind in memory."""

from __future__ import annotations

import gc
import tracemalloc

from twisted.internet.task import Clock as FakeClock

from mmr.media.preview_failures import PreviewFailures
from mmr.media.preview_fetch import Cause
from mmr.storage.previews import PreviewKey
from mmr.util.clock import Clock

from tests.rest.preview_case import PAGE, PreviewCase, page, picture

_PAGE_BYTES = 200_000


class ManyPreviews(PreviewCase):
    async def test_memory_doesnt_grow_with_the_number_of_previews(self) -> None:
        body = PAGE + b"<p>text</p>" * (_PAGE_BYTES // 11)
        self.paths = {f"/{n}": page(body) for n in range(150)}
        self.paths["/sea.png"] = picture()
        await self.make(range(50))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        await self.make(range(50, 100))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await self.make(range(100, 150))
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 2_000_000)
        self.assertLess(peak - before, 10 * 6 * _PAGE_BYTES)
        previews = self.server.previews
        self.assertEqual(len(previews._flights), 0)
        self.assertEqual(len(previews._running), 0)
        self.assertEqual(previews._admission.running, 0)

    async def make(self, numbers: range) -> None:
        """Ten at a time."""
        for start in numbers[::10]:
            urls = [self.url(f"/{start + n}") for n in range(10)]
            for answer in await self.at_once(*urls):
                self.assertEqual(answer.status, 200)
        self.site.requests.clear()


def key(number: int) -> PreviewKey:
    return PreviewKey("media.example", f"http://site.example/{number}", "en")


def test_failures_are_remembered_by_cause_and_in_bounded_number() -> None:
    fake = FakeClock()
    failures = PreviewFailures(Clock(fake))  # type: ignore[arg-type]
    failures.remember(key(-1), Cause.PASSING)
    failures.remember(key(-2), Cause.LASTING)
    assert key(-1) in failures
    fake.advance(61)
    assert key(-1) not in failures
    assert key(-2) in failures
    fake.advance(3600)
    assert key(-2) not in failures
    for number in range(10_001):
        failures.remember(key(number), Cause.LASTING)
    assert key(0) not in failures
    assert key(1) in failures
    failures.clear()
    assert key(1) not in failures
