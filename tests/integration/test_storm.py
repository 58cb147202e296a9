"""The same bytes uploaded, shown, quarantined, purged and moved, all at once (R101)."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.harness import jpeg
from tests.integration.conftest import MakeServer
from tests.integration.inside import rows
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Answer, Server
from tests.integration.truth import Truth
from tests.postgres import create_database

ADMIN = "/_matrix/media/unstable/admin"
SECONDS = 6.0
CLIENTS = 6
# "Being deleted, try again", and "busy".
MAY_FAIL = {403, 404, 503}


@pytest.fixture(params=["sqlite", "postgres"])
def servers(request: pytest.FixtureRequest, make_server: MakeServer) -> list[Server]:
    """One process on SQLite, two on PostgreSQL; two stores, both for everything."""
    count = 1 if request.param == "sqlite" else 2
    made = [make_server(environment={"MACHINE_ID": str(n)}) for n in range(count)]
    first = made[0]
    store = first.config["datastores"][0]
    second = {**store, "id": "second", "opts": {"path": str(first.folder / "second")}}
    database = {"sqlite": str(first.folder / "mmr.db"), "postgres": None}
    if request.param == "postgres":
        database = {"sqlite": None, "postgres": create_database()}
    for server in made:
        server.media, server.token = first.media, first.token
        server.config["accessTokens"] = first.config["accessTokens"]
        server.write_config(
            {
                "admins": [f"@tests:{SERVER_NAME}"],
                "database": database,
                "datastores": [store, second],
                "uploads": {"minBytes": 0, "minFreeBytes": 0},
            }
        )
    return made


class Storm:
    """Clients that do anything to a few contents."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers
        self.contents = [os.urandom(300), os.urandom(90_000)]
        self.contents += [jpeg(900, 700, color) for color in ("red", "green")]
        self.known: list[str] = []
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wrong: list[object] = []

    def run(self) -> None:
        ends_at = time.monotonic() + SECONDS
        threads = [
            threading.Thread(target=self._client, args=(random.Random(n), ends_at))
            for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a request hangs"

    def _client(self, chance: random.Random, ends_at: float) -> None:
        acts = [self._upload] * 5 + [self._download] * 4 + [self._thumbnail] * 3
        acts += [self._purge, self._purge, self._quarantine, self._release, self._move]
        while time.monotonic() < ends_at:
            act: Callable[[random.Random, Server], Answer] = chance.choice(acts)
            try:
                answer = act(chance, chance.choice(self._servers))
            except (OSError, http.client.HTTPException) as error:
                # Quarantine breaks off what is being given out.
                if act not in (self._download, self._thumbnail):
                    self.wrong.append((act.__name__, error))
                continue
            self.answers[act.__name__, answer.status] += 1
            if answer.status not in {200} | MAY_FAIL:
                self.wrong.append((act.__name__, answer))

    def _upload(self, chance: random.Random, server: Server) -> Answer:
        content = chance.choice(self.contents)
        kind = "image/jpeg" if content[:2] == b"\xff\xd8" else "application/x-any"
        answer = server.request(
            "POST",
            f"/_matrix/media/v3/upload?filename={chance.randrange(5)}",
            content,
            headers={"Content-Type": kind},
        )
        if answer.status == 200:
            self.known.append(answer.json["content_uri"].removeprefix("mxc://"))
        return answer

    def _one(self, chance: random.Random) -> str:
        known = self.known[-30:]
        return chance.choice(known) if known else f"{SERVER_NAME}/none"

    def _download(self, chance: random.Random, server: Server) -> Answer:
        answer = server.download(self._one(chance))
        if answer.status == 200 and answer.body not in self.contents:
            self.wrong.append(("other bytes", len(answer.body)))
        return answer

    def _thumbnail(self, chance: random.Random, server: Server) -> Answer:
        side = chance.choice((32, 96))
        path = f"/_matrix/client/v1/media/thumbnail/{self._one(chance)}"
        answer = server.request("GET", f"{path}?width={side}&height={side}&method=crop")
        # What is no picture has none.
        return Answer(200, {}, b"") if answer.status == 400 else answer

    def _purge(self, chance: random.Random, server: Server) -> Answer:
        return server.request("POST", f"{ADMIN}/purge/{self._one(chance)}")

    def _quarantine(self, chance: random.Random, server: Server) -> Answer:
        return server.request("POST", f"{ADMIN}/quarantine/{self._one(chance)}")

    def _release(self, chance: random.Random, server: Server) -> Answer:
        digest = hashlib.sha256(chance.choice(self.contents)).hexdigest()
        return server.request("POST", f"{ADMIN}/unquarantine/hash/{digest}")

    def _move(self, chance: random.Random, server: Server) -> Answer:
        source, target = chance.sample(("main", "second"), 2)
        path = f"{ADMIN}/datastores/{source}/transfer_to/{target}"
        return server.request("POST", path)


def test_it_ends_in_some_order(servers: list[Server]) -> None:
    """No 500, no other bytes, no object lost, none left."""
    for server in servers:
        server.start()
    storm = Storm(servers)
    storm.run()
    assert not storm.wrong, storm.wrong[:3]
    for act in ("_upload", "_download", "_thumbnail", "_purge", "_quarantine", "_move"):
        assert storm.answers[act, 200], (act, storm.answers)
    query = "SELECT 1 FROM background_tasks WHERE end_ts IS NULL OR end_ts = 0"
    poll(lambda: rows(servers[0], query) == [], "the transfers", 60)
    for content in storm.contents:
        digest = hashlib.sha256(content).hexdigest()
        path = f"{ADMIN}/unquarantine/hash/{digest}"
        assert servers[0].request("POST", path).status == 200
        storm_mxc = servers[-1].upload(content, "application/x-last")
        for server in servers:
            assert server.download(storm_mxc).body == content
    for server in servers:
        server.stop()
    # Quarantined media that was purged keeps its row, and no object.
    rows(servers[0], "DELETE FROM media WHERE location = ''")
    Truth(servers[0]).check()
