"""Protected media is kept though its content is quarantined, whichever comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mmr.media.adopted import AdoptedMedia, Adoption

from tests.harness import ALICE, HOST, ServerCase

CONTENT = b"bad for some, dear to others"


async def chunks() -> AsyncIterator[bytes]:
    yield CONTENT


def media(media_id: str, **values: Any) -> AdoptedMedia:
    return AdoptedMedia(
        origin=HOST,
        media_id=media_id,
        content_type="text/plain",
        user_id=ALICE,
        creation_ts=1,
        **values,
    )


class ProtectedTests(ServerCase):
    async def adopt(self, item: AdoptedMedia) -> Adoption:
        return (await self.server.adoptions.adopt(item, chunks())).adoption

    async def check(self) -> None:
        self.assertEqual((await self.download("dear")).body, CONTENT)
        self.assertTrue((await self.record("bad")).quarantined)

    async def test_the_protected_one_comes_first(self) -> None:
        for item in (
            media("dear", is_protected=True),
            media("bad", is_quarantined=True),
        ):
            self.assertEqual(await self.adopt(item), Adoption.STORED)
        await self.check()

    async def test_the_quarantined_one_comes_first(self) -> None:
        for item in (
            media("bad", is_quarantined=True),
            media("dear", is_protected=True),
        ):
            self.assertEqual(await self.adopt(item), Adoption.STORED)
        await self.check()

    async def test_the_quarantined_one_comes_in_between(self) -> None:
        original = self.server.db.interaction

        async def interaction(desc: str, func: Any, *args: Any, **kwargs: Any) -> Any:
            if desc == "commit_files":
                patch.restore()
                bad = media("bad", is_quarantined=True)
                self.assertEqual(await self.adopt(bad), Adoption.STORED)
            return await original(desc, func, *args, **kwargs)

        patch = self.patch(self.server.db, "interaction", interaction)
        dear = media("dear", is_protected=True)
        self.assertEqual(await self.adopt(dear), Adoption.STORED)
        await self.check()


class ProtectedOnPostgres(ProtectedTests):
    engine = "postgres"
