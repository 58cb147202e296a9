"""Our own media on its way out: small objects are read many at once."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from mmr.media.adopted import AdoptedMedia
from mmr.storage.departures import DepartureStore
from mmr.tasks.departing import Departing
from mmr.tasks.movable import Movable

from tests.harness import ALICE, HOST, ServerCase

LARGE = os.urandom(70_000)


class DepartingTests(ServerCase):
    config: ClassVar[dict[str, Any]] = {"uploads": {"minBytes": 0}}

    async def keep(self, content: dict[str, bytes]) -> None:
        files = [
            (
                AdoptedMedia(
                    origin=HOST,
                    media_id=media_id,
                    content_type="text/plain",
                    user_id=ALICE,
                    creation_ts=1,
                ),
                data,
            )
            for media_id, data in content.items()
        ]
        await self.server.adoptions.adopt_small(files)

    async def leave(self) -> dict[str, tuple[Movable, bytes | None]]:
        source = Departing(
            DepartureStore(self.server.db),
            self.server.datastores,
            self.server.content,
            None,
        )
        found = {}
        async for batch in source.batches():
            assert batch.read_small is not None
            read = await batch.read_small(batch.media)
            for each, data in zip(batch.media, read, strict=True):
                found[each.media.media_id] = each, data
        return found

    async def test_small_ones_come_at_once_and_the_others_by_themselves(self) -> None:
        content = {f"media{number}": b"%d" % number for number in range(20)}
        await self.keep({**content, "large": LARGE})
        found = await self.leave()
        large, data = found.pop("large")
        self.assertIsNone(data)
        self.assertEqual(b"".join([chunk async for chunk in large.chunks()]), LARGE)
        self.assertEqual({name: data for name, (_, data) in found.items()}, content)
        self.assertEqual(found["media1"][0].media.user_id, ALICE)

    async def test_what_is_lost_or_damaged_is_left_to_be_named(self) -> None:
        names = ("good", "lost", "damaged")
        await self.keep({name: name.encode() for name in names})
        (await self.path_of("lost")).unlink()
        (await self.path_of("damaged")).write_bytes(b"short")
        found = {name: data for name, (_, data) in (await self.leave()).items()}
        self.assertEqual(found, {"good": b"good", "lost": None, "damaged": None})
