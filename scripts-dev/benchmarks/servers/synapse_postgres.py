"""Synapse as it runs in production: on a PostgreSQL of its own, gone afterwards."""

from __future__ import annotations

from typing import Any

from benchmarks.processes import Child
from benchmarks.servers.services import Postgres
from benchmarks.servers.synapse import Synapse


class SynapsePostgres(Synapse):
    """Synapse beside PostgreSQL on a unix socket.

    The CPU of PostgreSQL itself isn't counted, and it isn't on the core of Synapse.
    """

    name = "synapse-pg"
    _postgres: Postgres | None = None

    def launch(self) -> Child:
        """Start PostgreSQL first."""
        home = self.folder / "postgres"
        home.mkdir()
        self._postgres = Postgres(home)
        return super().launch()

    def stop(self) -> None:
        """End Synapse, then PostgreSQL."""
        super().stop()
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None

    def database(self) -> dict[str, Any]:
        """Psycopg2 over the unix socket, with Synapse's recommended pool."""
        assert self._postgres is not None
        arguments = {
            "user": "postgres",
            "dbname": "postgres",
            "host": str(self._postgres.home),
            "port": self._postgres.port,
            "cp_min": 5,
            "cp_max": 10,
        }
        return {"name": "psycopg2", "args": arguments}
