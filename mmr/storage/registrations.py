"""Records of objects that are in a datastore already, many at once.

For the store of another server that is taken over where it is: no byte is read, so that
a million files take minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from mmr.storage import datastore_totals, last_access, objects, pairs
from mmr.storage.attributes import Purpose, set_purpose_txn
from mmr.storage.database import Database
from mmr.storage.media import REQUIRES_AUTH, MediaRecord, MediaStore
from mmr.storage.objects import is_stand_in
from mmr.storage.transaction import Transaction, placeholders
from mmr.types import Mxc


@attrs.frozen(slots=True)
class Registration:
    """One record to be.

    Attributes:
        record: Its hash may be a stand-in.
        is_pinned: Neither quarantined nor purged.
        last_access_ts: Ms since the epoch.
    """

    record: MediaRecord
    is_pinned: bool
    last_access_ts: int

    @property
    def mxc(self) -> Mxc:
        """The media's address."""
        return Mxc(self.record.origin, self.record.media_id)


@attrs.frozen(slots=True)
class Registered:
    """What one batch did.

    Attributes:
        new: Media that has a record now.
        quarantined: Other media with the same content as quarantined new media.
    """

    new: frozenset[Mxc]
    quarantined: frozenset[Mxc]


class RegistrationStore:
    """Adds records; those that are there stay as they are, and so do purged ids.

    The objects belong to another program. They are shared with no other record and
    never deleted: so the locks of hashes guard nothing but quarantine here.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._media = MediaStore(db)

    async def register(self, batch: Sequence[Registration]) -> Registered:
        """Add the records of one batch, all in one datastore, in one transaction."""
        return await self._db.interaction("register_media", self._register_txn, batch)

    async def find_taken(self, media: Sequence[Mxc]) -> set[Mxc]:
        """Those of some ids that have a record already, or were purged."""
        return await self._db.interaction("find_taken_media", _taken_txn, media)

    def _register_txn(
        self, txn: Transaction, batch: Sequence[Registration]
    ) -> Registered:
        objects.lock_hashes_txn(txn, _hashes(batch))
        taken = _taken_txn(txn, [each.mxc for each in batch])
        wanted = [each for each in batch if each.mxc not in taken]
        new = _insert_txn(txn, wanted)
        added = [each for each in wanted if each.mxc in new]
        if added:
            self._add_details_txn(txn, added)
        changed = self._quarantine_txn(txn, _hashes(added))
        return Registered(frozenset(new), frozenset(changed - new))

    def _add_details_txn(self, txn: Transaction, added: list[Registration]) -> None:
        records = [each.record for each in added]
        datastore_totals.bump_txn(
            txn,
            records[0].datastore_id,
            sum(record.size_bytes for record in records),
            len(records),
        )
        _restrict_txn(txn, [record for record in records if record.requires_auth])
        for each in added:
            if each.is_pinned:
                set_purpose_txn(txn, each.mxc.origin, each.mxc.media_id, Purpose.PINNED)
        times: dict[str, int] = {}
        for each in added:
            sha256 = each.record.sha256_hash
            times[sha256] = max(each.last_access_ts, times.get(sha256, 0))
        last_access.touch_txn(txn, times)

    def _quarantine_txn(self, txn: Transaction, hashes: set[str]) -> set[Mxc]:
        """Quarantined content is so under every id (R86)."""
        changed: set[Mxc] = set()
        for sha256_hash in _quarantined_txn(txn, sorted(hashes)):
            changed.update(
                self._media.set_quarantined_by_hash_txn(txn, sha256_hash, True)
            )
        return changed


def _hashes(batch: Iterable[Registration]) -> set[str]:
    """The hashes that are known."""
    found = {each.record.sha256_hash for each in batch}
    return {sha256_hash for sha256_hash in found if not is_stand_in(sha256_hash)}


def _taken_txn(txn: Transaction, media: Sequence[Mxc]) -> set[Mxc]:
    """Ids that have a record, or had one: what was purged stays so."""
    where, values = pairs.of_media(media)
    taken: set[Mxc] = set()
    for table in ("media", "reserved_media"):
        txn.execute(
            f"SELECT origin, media_id FROM {table} WHERE {where}",  # noqa: S608
            values,
        )
        taken.update(Mxc(*row) for row in txn.fetchall())
    return taken


def _insert_txn(txn: Transaction, wanted: list[Registration]) -> set[Mxc]:
    if not wanted:
        return set()
    # All but `requires_auth`, which is in a table of its own.
    rows = [attrs.astuple(each.record)[:-1] for each in wanted]
    groups, values = placeholders(rows)
    txn.execute(
        "INSERT INTO media (origin, media_id, upload_name, content_type, user_id,"  # noqa: S608
        " sha256_hash, size_bytes, location, creation_ts, quarantined, datastore_id)"
        f" VALUES {groups} ON CONFLICT (media_id, origin) DO NOTHING"
        " RETURNING origin, media_id",
        values,
    )
    return {Mxc(*row) for row in txn.fetchall()}


def _restrict_txn(txn: Transaction, records: list[MediaRecord]) -> None:
    if not records:
        return
    groups, values = placeholders(
        [(each.origin, each.media_id, REQUIRES_AUTH, "true") for each in records]
    )
    txn.execute(
        "INSERT INTO restricted_media"  # noqa: S608
        " (origin, media_id, condition_type, condition_value)"
        f" VALUES {groups} ON CONFLICT (origin, media_id) DO NOTHING",
        values,
    )


def _quarantined_txn(txn: Transaction, hashes: list[str]) -> list[str]:
    if not hashes:
        return []
    marks = ",".join("?" * len(hashes))
    txn.execute(
        "SELECT DISTINCT sha256_hash FROM media"  # noqa: S608
        f" WHERE sha256_hash IN ({marks}) AND quarantined",
        hashes,
    )
    return [row[0] for row in txn.fetchall()]
