"""Objects in datastores: who refers to them, and when they may be deleted.

An object is named by datastore id and location. Any number of media and thumbnail
records may share one. All functions here run inside the lock of the object's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import attrs

from mmr.storage import datastore_totals
from mmr.storage.transaction import Transaction, placeholders

_FIRST_PAUSE_MS = 10_000
_MAX_PAUSE_MS = 24 * 3600 * 1000
_MAX_ERROR_LENGTH = 500
_STAND_IN = "unknown-"


@attrs.frozen
class ObjectName:
    """Where the bytes are."""

    datastore_id: str
    location: str


def stand_in_hash(name: ObjectName) -> str:
    """What a record has in place of a SHA-256 that nobody has computed yet.

    No two objects have the same one, so that what goes by the hash (caches, ETags,
    quarantine, access times) takes each for a content of its own.
    """
    text = f"{name.datastore_id}\0{name.location}"
    return _STAND_IN + hashlib.sha256(text.encode()).hexdigest()


def is_stand_in(sha256_hash: str) -> bool:
    """Whether that is no hash but a stand-in."""
    return sha256_hash.startswith(_STAND_IN)


def lock_hash_txn(txn: Transaction, sha256_hash: str) -> None:
    """Be the only one to add, share or delete objects with this content."""
    txn.lock("sha256", sha256_hash)


def lock_hashes_txn(txn: Transaction, hashes: Iterable[str]) -> None:
    """The same for several, in one order: nobody waits for each other."""
    txn.lock_all("sha256", hashes)


def is_in_use_txn(txn: Transaction, name: ObjectName) -> bool:
    """Whether a media, thumbnail or export record refers to the object."""
    where = "WHERE datastore_id = ? AND location = ?"
    return bool(
        txn.fetch_value(
            f"SELECT EXISTS (SELECT 1 FROM media {where})"  # noqa: S608
            f" OR EXISTS (SELECT 1 FROM thumbnails {where})"
            f" OR EXISTS (SELECT 1 FROM export_parts {where})",
            (name.datastore_id, name.location) * 3,
        )
    )


def find_with_hash_txn(txn: Transaction, sha256_hash: str) -> ObjectName | None:
    """An object with this content that records refer to already."""
    for table in ("media", "thumbnails"):
        txn.execute(
            f"SELECT datastore_id, location FROM {table}"  # noqa: S608
            " WHERE sha256_hash = ? LIMIT 1",
            (sha256_hash,),
        )
        if row := txn.fetchone():
            return ObjectName(*row)
    return None


def count_object_txn(txn: Transaction, name: ObjectName, size_bytes: int) -> None:
    """Add an object, to which nothing referred before, to its datastore's total."""
    datastore_totals.bump_txn(txn, name.datastore_id, size_bytes, 1)


def uncount_object_txn(txn: Transaction, name: ObjectName, size_bytes: int) -> None:
    """Take an object, to which nothing refers any more, off its datastore's total."""
    datastore_totals.bump_txn(txn, name.datastore_id, -size_bytes, -1)


def release_txn(txn: Transaction, name: ObjectName, size_bytes: int) -> bool:
    """Queue the object for deletion, if nothing refers to it any more.

    To be called after the record was deleted. The object itself goes after the commit
    (R101): `ObjectDeleteStore.due`.

    Returns:
        Whether it was queued.
    """
    if is_in_use_txn(txn, name):
        return False
    uncount_object_txn(txn, name, size_bytes)
    queue_delete_txn(txn, name)
    return True


def queue_all_txn(txn: Transaction, free: Mapping[ObjectName, int]) -> None:
    """Take these objects, with their sizes, off the totals and have them deleted."""
    if not free:
        return
    sizes: dict[str, list[int]] = {}
    for name, size in free.items():
        sizes.setdefault(name.datastore_id, []).append(size)
    for datastore_id, some in sorted(sizes.items()):
        datastore_totals.bump_txn(txn, datastore_id, -sum(some), -len(some))
    now_ms = txn.now_ms()
    marks, values = placeholders([(*attrs.astuple(name), now_ms) for name in free])
    txn.execute(
        "INSERT INTO mmr_object_deletes (datastore_id, location, since_ts)"  # noqa: S608
        f" VALUES {marks} ON CONFLICT (datastore_id, location) DO NOTHING",
        values,
    )


def queue_delete_txn(txn: Transaction, name: ObjectName, delay_ms: int = 0) -> None:
    """Have the object deleted, whatever refers to it.

    Args:
        delay_ms: So much later at the earliest: for whom knew where it was.
    """
    now_ms = txn.now_ms()
    txn.execute(
        "INSERT INTO mmr_object_deletes"
        " (datastore_id, location, since_ts, next_try_ts) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (datastore_id, location) DO NOTHING",
        (
            name.datastore_id,
            name.location,
            now_ms,
            now_ms + delay_ms if delay_ms else 0,
        ),
    )


def is_to_be_deleted_txn(txn: Transaction, name: ObjectName) -> bool:
    """Whether the object is queued for deletion."""
    return bool(
        txn.fetch_value(
            "SELECT EXISTS (SELECT 1 FROM mmr_object_deletes"
            " WHERE datastore_id = ? AND location = ?)",
            (name.datastore_id, name.location),
        )
    )


def delete_failed_txn(txn: Transaction, name: ObjectName, error: str) -> None:
    """Note a failed deletion: the next try waits twice as long, a day at most."""
    txn.execute(
        "SELECT attempts FROM mmr_object_deletes"
        " WHERE datastore_id = ? AND location = ?",
        (name.datastore_id, name.location),
    )
    row = txn.fetchone()
    if row is None:
        return
    # The exponent is capped as well: attempts never end.
    pause_ms = min(_MAX_PAUSE_MS, _FIRST_PAUSE_MS * 2 ** min(row[0], 20))
    txn.execute(
        "UPDATE mmr_object_deletes SET attempts = attempts + 1, last_error = ?,"
        " next_try_ts = ? WHERE datastore_id = ? AND location = ?",
        (
            error.replace("\0", "")[:_MAX_ERROR_LENGTH],
            txn.now_ms() + pause_ms,
            name.datastore_id,
            name.location,
        ),
    )
