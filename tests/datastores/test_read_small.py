"""Many small files read in one job; the rest is left to those who open them."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mmr.datastores.base import GivesMany
from mmr.datastores.file import SMALL_BYTES, FileDatastore
from mmr.types import Kind
from mmr.util.clock import Clock

from tests.datastores.s3_server import started_pool


class ReadSmallTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        pool = started_pool(self, "files")
        clock = Clock(reactor)  # type: ignore[arg-type]
        self.store = FileDatastore(
            "folder", frozenset(Kind), str(self.folder), pool, clock, lambda: 0
        )

    def write(self, location: str, data: bytes) -> str:
        path = self.folder / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return location

    async def test_small_objects_come_whole_and_others_not_at_all(self) -> None:
        """R71: links and foreign places are refused here too."""
        self.assertIsInstance(self.store, GivesMany)
        (self.folder / "out").symlink_to("/etc")
        locations = [
            self.write("aa/bb/small", b"small"),
            self.write("aa/bb/empty", b""),
            self.write("aa/bb/most", bytes(SMALL_BYTES)),
            self.write("aa/bb/large", bytes(SMALL_BYTES + 1)),
            "aa/bb/missing",
            "../../etc/passwd",
            "out/passwd",
            "aa/bb",
        ]
        found = await self.store.read_small(locations)
        self.assertEqual(
            found, [b"small", b"", bytes(SMALL_BYTES), None, None, None, None, None]
        )
        self.assertEqual(await self.store.read_small([]), [])
