"""A disk that is really full: uploads end clearly, reads go on (R97)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from tests.harness import HOST, ServerCase, jpeg
from tests.small_disk import mount_small_disk

_PIECE = 1_000_000


class FullDiskTests(ServerCase):
    """Media and database share a disk of 16 MB; nothing is kept free on it."""

    config: ClassVar[dict[str, Any]] = {
        "uploads": {"minFreeBytes": 0, "minBytes": 0, "maxPending": 100_000}
    }

    def make_folder(self) -> Path:
        folder = super().make_folder()
        mount_small_disk(self, folder, megabytes=16)
        return folder

    async def fill(self) -> list[tuple[str, bytes]]:
        """Upload until nothing more fits."""
        kept = []
        for _ in range(30):
            data = os.urandom(_PIECE)
            answer = await self.request("POST", "/_matrix/media/v3/upload", body=data)
            if answer.status != 200:
                self.assertEqual(answer.status, 503)
                self.assertIn("no space", answer.json["error"])
                self.assertNotIn(str(self.folder), answer.body.decode())
                return kept
            kept.append((answer.json["content_uri"].rpartition("/")[2], data))
        raise AssertionError("the disk never was full")

    async def test_uploads_end_and_reads_go_on(self) -> None:
        photo = await self.upload(jpeg(300, 200), "image/jpeg")
        with self.assertLogs("mmr.datastores", "ERROR") as logged:
            kept = await self.fill()
        self.assertIn("Free space", logged.output[0])
        self.assertGreater(len(kept), 5)
        for media_id, data in kept:
            self.assertEqual((await self.download(media_id)).body, data)
        # The partial file is gone: what fits into its place is taken.
        self.assertEqual(len(self.files()), len(kept) + 1)
        self.assertEqual((await self.thumbnail(photo)).status, 200)

    async def test_with_room_again_uploads_are_taken_again(self) -> None:
        kept = await self.fill()
        for media_id, _ in kept[:3]:
            await self.server.db.interaction(
                "delete", self.server.stores.media.delete_media_txn, HOST, media_id
            )
        await self.server.sweep.delete_queued()
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        await self.upload(os.urandom(_PIECE))

    async def test_a_database_that_cannot_grow_is_told_too(self) -> None:
        await self.fill()
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass
        answers = [
            await self.request("POST", "/_matrix/media/v1/create") for _ in range(400)
        ]
        self.assertEqual({answer.status for answer in answers} - {200}, {503})
        (self.folder / "filler").unlink()
        media_id = await self.upload(b"data")
        self.assertEqual((await self.download(media_id)).body, b"data")
