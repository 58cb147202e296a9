"""SIGKILL during uploads loses nothing acknowledged and leaves nothing for ever."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import threading
import time

from tests.integration.inside import recorded, rows, sweep
from tests.integration.server import Server

ROUNDS = 8
UPLOADERS = 6


class Uploaders:
    """Threads that upload until the server is gone, and know what it acknowledged."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self.acknowledged: dict[str, str] = {}
        self.begun = 0
        # Some bodies are sent by several at once, so that the commits meet.
        shared = [os.urandom(30_000) for _ in range(3)]
        self._threads = [
            threading.Thread(
                target=self._upload, args=(random.Random(seed + n), shared)
            )
            for n in range(UPLOADERS)
        ]

    def start(self) -> None:
        """Begin uploading."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have seen the server gone."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _upload(self, chance: random.Random, shared: list[bytes]) -> None:
        while True:
            own = os.urandom(chance.choice([200, 20_000, 1_500_000]))
            body = chance.choice([own, own, chance.choice(shared)])
            self.begun += 1
            try:
                mxc = self._server.upload(body)
            except (OSError, http.client.HTTPException):
                return
            self.acknowledged[mxc] = hashlib.sha256(body).hexdigest()


def test_killed_at_any_point(engine: Server) -> None:
    """R94, R95."""
    chance = random.Random(20261121)
    acknowledged: dict[str, str] = {}
    begun = 0
    for number in range(ROUNDS):
        engine.start()
        uploaders = Uploaders(engine, number)
        uploaders.start()
        # Somewhere in the middle of several uploads, never at the same step.
        time.sleep(chance.uniform(0.05, 0.2))
        engine.child.kill()
        uploaders.join()
        acknowledged |= uploaders.acknowledged
        begun += uploaders.begun
    assert acknowledged
    assert len(acknowledged) < begun

    engine.start()
    for mxc, digest in acknowledged.items():
        answer = engine.download(mxc)
        assert answer.status == 200, mxc
        assert hashlib.sha256(answer.body).hexdigest() == digest, mxc
    engine.stop()
    sweep(engine)
    assert engine.objects() == recorded(engine)
    assert rows(engine, "SELECT * FROM mmr_object_intents") == []
    assert rows(engine, "SELECT * FROM mmr_object_deletes") == []
    assert rows(engine, "SELECT * FROM mmr_quota_reservations") == []
