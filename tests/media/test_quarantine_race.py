"""Quarantine and an upload of the same bytes at once, a thousand times (R86)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from mmr.errors import MatrixError
from mmr.media import selection as selections
from mmr.media.selection import EVERYTHING, Order
from mmr.media.uploads import UploadMeta
from mmr.types import Mxc

from tests.harness import ALICE, BOB, HOST
from tests.rest.admin.case import AdminCase

_ROUNDS = 1000
# Rounds that run beside each other, each about a content of its own.
_LANES = 4
# Quarantine begins in each tenth of the time that an upload takes, and just behind it.
_PHASES = 12


class Body:
    """Bytes, as if somebody sent them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


class RaceTests(AdminCase):
    timeout = 180
    config: ClassVar[dict[str, Any]] = {
        "downloads": {"cache": {"enabled": True, "minDownloads": 1}},
        # Those that were refused stay reserved.
        "uploads": {"minBytes": 0, "minFreeBytes": 0, "maxPending": _ROUNDS},
    }

    async def test_the_same_bytes_never_come_back(self) -> None:
        """R86: either refused or quarantined, whatever comes between."""
        lanes = [
            Deferred.fromCoroutine(self.run_rounds(range(lane, _ROUNDS, _LANES)))
            for lane in range(_LANES)
        ]
        taken = sum(await gatherResults(lanes, consumeErrors=True))
        # Both happened: it was a race.
        self.assertGreater(taken, 0)
        self.assertLess(taken, _ROUNDS)
        self.assertEqual(await self.count("media"), _ROUNDS + taken)
        await self.check_consistent()

    async def run_rounds(self, numbers: range) -> int:
        """How often the second upload was taken."""
        return sum([await self.run_round(number) for number in numbers])

    async def run_round(self, number: int) -> bool:
        """Whether the second upload was taken, and quarantined then."""
        data = b"content %d" % number
        began = time.perf_counter()
        first = await self.take(data, ALICE)
        took_s = time.perf_counter() - began
        assert first is not None
        reserved = None
        if number % 3 == 0:
            reserved, _ = await self.server.uploads.create(self.domain, BOB)
        await self.server.media_records.get(first)
        uploading = Deferred.fromCoroutine(self.take(data, BOB, reserved))
        await deferLater(reactor, took_s * (number % _PHASES) / (_PHASES - 2))
        order = Order(selections.one(first), EVERYTHING, "@t")
        await self.server.quarantine.set(order, True)
        second = await uploading
        await self.check_nothing_lives(data, first, second or reserved)
        return second is not None

    @property
    def domain(self) -> Any:
        return self.server.config.domains[HOST]

    async def take(
        self, data: bytes, user_id: str, reserved: Mxc | None = None
    ) -> Mxc | None:
        """Upload, at once or to a reserved id; None: it was refused."""
        meta = UploadMeta(user_id, "a/b", "")
        try:
            if reserved is None:
                return await self.server.uploads.upload(self.domain, meta, Body(data))
            await self.server.uploads.fill(self.domain, reserved, meta, Body(data))
        except MatrixError as error:
            self.assertEqual((error.status, error.errcode), (403, "M_FORBIDDEN"))
            return None
        return reserved

    async def check_nothing_lives(self, data: bytes, *media: Mxc | None) -> None:
        """No record of the content is open, and none of the ids gives it out."""
        row = await self.server.db.fetch_one(
            "test",
            "SELECT COUNT(*) FROM media WHERE sha256_hash = ? AND NOT quarantined",
            (hashlib.sha256(data).hexdigest(),),
        )
        assert row is not None
        self.assertEqual(row[0], 0)
        for mxc in media:
            if mxc is not None:
                path = f"/_matrix/client/v1/media/download/{HOST}/{mxc.media_id}"
                answer = await self.get(f"{path}?timeout_ms=0")
                self.assertIn(answer.status, (404, 504), answer)
                self.assertNotIn(data, answer.body)


class PostgresRaceTests(RaceTests):
    engine: ClassVar[str] = "postgres"
