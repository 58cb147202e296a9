"""The bench's large database, made smaller and analysed: PostgreSQL's plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
from benchmarks import million

from mmr.storage import Database, Transaction
from mmr.storage.engines.base import Params
from mmr.storage.listing import MediaOrder, Page
from mmr.storage.media_filter import MediaFilter
from mmr.storage.stores import Stores
from mmr.storage.usage import UserOrder, UserQuery

from tests.storage.base import OnPostgres

SIZES = million.Sizes().divided(20)
_EQUALS = (
    ("SELECT SUM(uploaded_bytes) FROM user_stats", "SELECT SUM(size_bytes) FROM media"),
    ("SELECT COUNT(*) FROM restricted_media", "SELECT COUNT(*) FROM media"),
    (
        "SELECT COUNT(*) FROM last_access",
        "SELECT COUNT(DISTINCT sha256_hash) FROM media",
    ),
    (
        "SELECT SUM(objects) FROM mmr_datastore_totals",
        "SELECT COUNT(DISTINCT location) FROM"
        " (SELECT location FROM media UNION SELECT location FROM thumbnails) AS o",
    ),
)


class Connection:
    """What the bench has as `Postgres`."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def psql(self, sql: str) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""

    def close(self) -> None:
        self._connection.close()


class MillionTests(OnPostgres):
    __test__ = True

    async def fill(self) -> Database:
        """Fifty thousand media."""
        db = await self.open()
        assert self.settings.postgres is not None
        self.connection = Connection(self.settings.postgres)
        self.addCleanup(self.connection.close)
        million.fill(self.connection, SIZES)
        return db

    async def test_rows_and_totals_agree(self) -> None:
        await self.fill()
        self.assertEqual(million.remaining(self.connection, "TRUE"), SIZES.rows)
        for origin, count in (
            (million.OWN, SIZES.own),
            (million.TO_PURGE, SIZES.each),
            (million.TO_QUARANTINE, SIZES.each),
        ):
            found = million.remaining(self.connection, f"origin = '{origin}'")
            self.assertEqual(found, count)
        for one, other in _EQUALS:
            self.assertEqual(self.connection.psql(one), self.connection.psql(other))

    async def test_no_question_of_an_admins_reads_a_table_whole(self) -> None:
        """By the planner's own choice, with half of all rows of one server."""
        db = await self.fill()
        seen: dict[str, Params] = {}
        execute = Transaction.execute

        def record(txn: Transaction, sql: str, params: Params = ()) -> None:
            seen.setdefault(sql, params)
            execute(txn, sql, params)

        recorder = self.patch(Transaction, "execute", record)
        await ask(Stores(db))
        recorder.restore()
        self.assertGreater(len(seen), 15)
        for sql, params in seen.items():
            plan = await db.interaction("t", explain, sql, params)
            whole = [
                node["Relation Name"]
                for node in nodes(plan)
                if node["Node Type"] == "Seq Scan"
                and node["Relation Name"] in ("media", "thumbnails")
            ]
            self.assertEqual(whole, [], sql)

    async def test_usage_is_summed_up_from_an_index_alone(self) -> None:
        db = await self.fill()
        for table, origin in (("media", million.OWN), ("thumbnails", million.TO_PURGE)):
            sql = (
                "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0)"
                f" FROM {table} WHERE origin = ?"
            )
            plan = await db.interaction("t", explain, sql, (origin,))
            used = [
                node["Index Name"]
                for node in nodes(plan)
                if node["Node Type"] == "Index Only Scan"
            ]
            self.assertEqual(used, [f"mmr_{table}_usage"])


async def ask(stores: Stores) -> None:
    """All that is asked about many rows."""
    for origin in (million.OWN, million.SMALL, million.TO_PURGE):
        await stores.usage.get_server_totals(origin)
        await stores.usage.get_uploads(origin, (0, ""), 500)
        await stores.usage.get_user_totals(origin, "", 500)
    await stores.usage.get_uploads_of(million.OWN, million.HEAVY_USER, (0, ""), 500)
    for order in UserOrder:
        await stores.usage.get_users_page(
            UserQuery(origin=million.OWN, order=order), 0, 100
        )
        await stores.usage.get_users_page(
            UserQuery(origin=million.OWN, order=order, from_ts=1_690_000_000_000),
            0,
            100,
        )
    for media_order in MediaOrder:
        page = Page(900, 100, descending=True)
        await stores.listing.get_of_user(million.HEAVY_USER, media_order, page)
    await stores.listing.count_of_user(million.HEAVY_USER)
    for wanted in (
        MediaFilter(origin=million.TO_PURGE, has_object=True),
        MediaFilter(user_id=million.HEAVY_USER, created_before=1 << 50),
        MediaFilter(quarantined=True),
    ):
        rows, place = await stores.selections.page(wanted, None, 50)
        await stores.selections.page(wanted, place, 50)
        names = [row.object_name for row in rows]
        await stores.selections.get_used_outside(wanted, names)
        await stores.thumbnails.get_of_all([row.mxc for row in rows])


def explain(txn: Transaction, sql: str, params: Params) -> dict[str, Any]:
    txn.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
    row = txn.fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)
