"""Whether the database and the stores of a stopped server agree (design §6)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.integration.inside import rows, sweep
from tests.integration.server import Server

_LEFTOVERS = ("mmr_object_intents", "mmr_object_deletes", "mmr_quota_reservations")


class Truth:
    """What the database says, and what is in the stores."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.folders = {
            store["id"]: Path(store["opts"]["path"])
            for store in server.config["datastores"]
        }

    def named(self) -> dict[Path, tuple[str, int]]:
        """The files that records name, with the hash and size that they shall have."""
        query = "SELECT datastore_id, location, sha256_hash, size_bytes FROM "
        found = rows(self._server, query + "media")
        found += rows(self._server, query + "thumbnails")
        return {self.folders[row[0]] / row[1]: (row[2], row[3]) for row in found}

    def check(self) -> None:
        """After the sweep: each row has its object, each object its row, no more."""
        # What was moved is deleted later, for the sake of those who still read it.
        rows(self._server, "UPDATE mmr_object_deletes SET next_try_ts = 0")
        sweep(self._server)
        named = self.named()
        files = {
            path
            for folder in self.folders.values()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert files == set(named)
        for path, (sha256, size) in named.items():
            data = path.read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (sha256, size)
        for table in _LEFTOVERS:
            assert rows(self._server, f"SELECT * FROM {table}") == []
        totals = (
            "SELECT datastore_id, SUM(bytes), SUM(objects)"
            " FROM mmr_datastore_totals GROUP BY datastore_id"
        )
        for store, size, objects in rows(self._server, totals):
            sizes = [
                s for p, (_, s) in named.items() if self.folders[store] in p.parents
            ]
            assert (int(size), int(objects)) == (sum(sizes), len(sizes)), store
