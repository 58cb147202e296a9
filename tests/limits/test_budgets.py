"""Dear work has a budget of its own, so that none of it uses up another's (R83)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.harness import png
from tests.rest.preview_case import PreviewCase
from tests.stub_web import LOOPBACK, silence


class BudgetTests(PreviewCase):
    async def test_previews_that_hang_hold_up_nothing_else(self) -> None:
        """R83: their places and their queue are full, and all else goes on."""
        slow = await self.serve()
        slow.script = silence
        self.dns.hosts["slow.example"] = [LOOPBACK]
        media_id = await self.upload(png(400, 300))
        waiting = [
            Deferred.fromCoroutine(self.preview(slow.url(f"/{n}", "slow.example")))
            for n in range(100)
        ]
        await self.eventually(lambda: any(each.called for each in waiting))
        refused = [each.result for each in waiting if each.called]
        self.assertEqual({answer.status for answer in refused}, {503})

        other = await self.upload(b"meanwhile")
        self.assertEqual((await self.download(other)).body, b"meanwhile")
        self.assertEqual((await self.download(media_id)).body, png(400, 300))
        self.assertEqual((await self.thumbnail(media_id)).status, 200)
        self.assertEqual((await self.get("/healthz", token=None)).status, 200)
        self.assertGreater(self.server.previews._admission.waiting, 0)

        self.server.previews.stop()
        for each in waiting:
            self.assertIn((await each).status, (404, 503))
