"""A preview and its picture are kept together, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mmr.datastores.base import DatastoreFull
from mmr.media.preview_images import CheckedImage
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.previews import HOUR_MS, PreviewKey, PreviewRecord

from tests.harness import HOST, ServerCase, png

KEY = PreviewKey(HOST, "http://site.example/", "en")
PREVIEW = PreviewRecord("http://site.example/", "", "", "Title", "")
HOUR = 500 * HOUR_MS


def image(color: str = "red") -> CheckedImage:
    return CheckedImage(png(color=color), "image/png", "a.png", 64, 48)


class Keep(ServerCase):
    async def keep(self, picture: CheckedImage | None) -> PreviewRecord:
        domain = self.server.config.domains[HOST]
        keeper = self.server.previews._keeper
        return await keeper.keep(domain, KEY, HOUR, PREVIEW, picture)

    async def kept(self) -> PreviewRecord | None:
        return await self.server.stores.previews.find_preview(KEY, HOUR, HOUR)

    async def test_what_is_answered_is_what_is_kept(self) -> None:
        for picture in (image(), None):
            answered = await self.keep(picture)
            self.assertEqual(await self.kept(), answered)

    async def test_of_several_processes_the_first_wins_and_nothing_is_left_of_others(
        self,
    ) -> None:
        colors = ("red", "green", "blue", "red")
        answers = await gatherResults(
            [Deferred.fromCoroutine(self.keep(image(color))) for color in colors]
        )
        first = await self.kept()
        self.assertEqual(answers, [first] * 4)
        self.assertEqual(await self.count("media"), 1)
        await self.server.sweep.delete_queued()
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_a_full_datastore_costs_the_picture_only(self) -> None:
        async def full(*_: Any) -> None:
            raise DatastoreFull("no space")

        self.patch(self.store, "create", full)
        self.assertEqual(await self.keep(image()), PREVIEW)
        self.assertEqual(await self.kept(), PREVIEW)

    async def test_an_unknown_outcome_is_looked_up(self) -> None:
        """R96: the commit happened, its answer was lost."""
        original = self.server.db.interaction

        async def interaction(desc: str, *args: Any, **kwargs: Any) -> Any:
            result = await original(desc, *args, **kwargs)
            if desc == "commit_object":
                raise CommitOutcomeUnknown("injected")
            return result

        self.patch(self.server.db, "interaction", interaction)
        answered = await self.keep(image())
        self.assertIsNotNone(answered.image)
        self.assertEqual(await self.kept(), answered)
