"""PostgreSQL connections that break, before, during and after COMMIT (R96)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import psycopg2

from twisted.internet import reactor
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.protocols import portforward

from mmr.config.database import DatabaseConfig
from mmr.errors import MatrixError
from mmr.storage import CommitOutcomeUnknown, Database, Transaction

from tests.postgres import PostgresCluster
from tests.storage.base import OnPostgres
from tests.storage.test_database import insert, values_of

_TERMINATE_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class LostConnectionTests(OnPostgres):
    __test__ = True

    async def test_a_connection_lost_before_commit_is_replaced(self) -> None:
        db = await self.open()
        attempts = []

        def lose_the_first(txn: Transaction) -> None:
            attempts.append(1)
            insert(txn, str(len(attempts)))
            if len(attempts) == 1:
                txn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        await db.interaction("t", lose_the_first)
        self.assertEqual(await values_of(db), ["2"])

    async def test_idle_connections_that_broke_are_replaced(self) -> None:
        db = await self.open()
        jobs = [ensureDeferred(db.ping()) for _ in range(8)]
        await DeferredList(jobs)
        connection = psycopg2.connect(self.settings.postgres)
        connection.cursor().execute(_TERMINATE_OTHERS)
        connection.close()
        jobs = [ensureDeferred(db.ping()) for _ in range(8)]
        jobs += [ensureDeferred(db.interaction("t", insert, str(n))) for n in range(8)]
        results = await DeferredList(jobs, consumeErrors=True)
        self.assertEqual({success for success, _ in results}, {True})

    async def test_a_connection_that_always_breaks_ends_in_503(self) -> None:
        db = await self.open()

        def lose(txn: Transaction) -> None:
            txn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with self.assertRaises(MatrixError) as caught:
            await db.interaction("t", lose)
        self.assertEqual(caught.exception.status, 503)
        await db.ping()

    async def test_a_commit_that_never_arrived_has_an_unknown_outcome(self) -> None:
        db = await self._open_through(_CutBeforeCommit)
        with self.assertRaises(CommitOutcomeUnknown):
            await db.interaction("t", insert, "a")
        self.assertEqual(await values_of(db), [])

    async def test_a_commit_without_an_answer_has_an_unknown_outcome(self) -> None:
        db = await self._open_through(_CutAfterCommit)
        with self.assertRaises(CommitOutcomeUnknown):
            await db.interaction("t", insert, "a")
        self.assertEqual(await values_of(db), ["a"])

    async def _open_through(self, protocol: type[portforward.ProxyServer]) -> Database:
        """A database behind a proxy that cuts the connection at a row's COMMIT."""
        assert self.settings.postgres is not None
        address = urlsplit(self.settings.postgres)
        factory = portforward.ProxyFactory(address.hostname, address.port)
        factory.protocol = protocol
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = self.settings.postgres.replace(
            f":{address.port}/", f":{port.getHost().port}/"
        )
        return await self.open(DatabaseConfig(postgres=url))


class _CutBeforeCommit(portforward.ProxyServer):
    """Closes both sides instead of passing COMMIT on."""

    has_inserted = False

    def dataReceived(self, data: bytes) -> None:
        # Only the transaction of the test, not those of the start.
        self.has_inserted = self.has_inserted or b"INTO exports" in data
        if self.has_inserted and b"COMMIT" in data:
            self.cut(data)
        else:
            super().dataReceived(data)

    def cut(self, data: bytes) -> None:
        self.peer.transport.abortConnection()
        self.transport.abortConnection()


class _CutAfterCommit(_CutBeforeCommit):
    """Passes COMMIT on and closes both sides instead of passing on its answer."""

    def cut(self, data: bytes) -> None:
        peer: Any = self.peer
        peer.dataReceived = lambda answer: _CutBeforeCommit.cut(self, answer)
        peer.transport.write(data)


class RestartTests(OnPostgres):
    """PostgreSQL itself goes away and comes back."""

    __test__ = True

    def make_settings(self) -> DatabaseConfig:
        self.cluster = PostgresCluster(durable=True)
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        return DatabaseConfig(postgres=self.cluster.create_database())

    async def test_a_restart_needs_no_restart_of_ours(self) -> None:
        db = await self.open()
        await db.interaction("t", insert, "before")
        self.cluster.stop()
        for work in db.ping(), db.interaction("t", insert, "meanwhile"):
            with self.assertRaises(MatrixError) as caught:
                await work
            self.assertEqual(caught.exception.status, 503)
        self.cluster.start()
        await db.interaction("t", insert, "later")
        self.assertEqual(await values_of(db), ["before", "later"])
