"""Times of last access are gathered and written together."""

from __future__ import annotations

from typing import cast

from twisted.trial.unittest import TestCase

from mmr.media import last_access
from mmr.media.last_access import LastAccess
from mmr.storage.last_access import LastAccessStore


class Store:
    def __init__(self) -> None:
        self.written: list[dict[str, int]] = []
        self.is_broken = False

    async def touch(self, noted: dict[str, int]) -> None:
        if self.is_broken:
            raise ValueError("no database today")
        self.written.append(noted)


class LastAccessTest(TestCase):
    def setUp(self) -> None:
        self.store = Store()
        self.notes = LastAccess(cast(LastAccessStore, self.store))

    async def test_the_latest_of_each_is_written_once(self) -> None:
        for now, sha256 in enumerate(("a", "b", "a")):
            self.notes.note(sha256, now)
        await self.notes.flush()
        await self.notes.flush()
        self.assertEqual(self.store.written, [{"a": 2, "b": 1}])

    async def test_a_failure_loses_nothing_and_overwrites_nothing_newer(self) -> None:
        self.store.is_broken = True
        self.notes.note("a", 1)
        self.notes.note("b", 1)
        with self.assertRaises(ValueError):
            await self.notes.flush()
        self.notes.note("a", 2)
        self.store.is_broken = False
        await self.notes.flush()
        self.assertEqual(self.store.written, [{"a": 2, "b": 1}])

    async def test_there_is_a_bound(self) -> None:
        self.patch(last_access, "_MAX_NOTED", 2)
        for now, sha256 in enumerate(("a", "b", "c", "a")):
            self.notes.note(sha256, now)
        await self.notes.flush()
        self.assertEqual(self.store.written, [{"a": 3, "b": 1}])
