"""MMR's shadow rows: media records that exist only because a thumbnail does.

MMR 1.3 stores a thumbnail as if somebody had uploaded it, under a fresh id that nobody
knows (mmr-storage §2.1, D43). Such a row would keep the thumbnail's object for ever.
"""

from __future__ import annotations

from collections.abc import Collection

from mmr.storage import pairs
from mmr.storage.media import MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction


def find_suspects_txn(
    txn: Transaction, names: Collection[ObjectName]
) -> set[ObjectName]:
    """Those objects that might have shadow rows."""
    if not names:
        return set()
    where, values = pairs.of_objects(names)
    txn.execute(
        "SELECT DISTINCT datastore_id, location FROM media"  # noqa: S608
        f" WHERE {where} AND user_id || '' = '' AND upload_name = ''",
        values,
    )
    return {ObjectName(*row) for row in txn.fetchall()}


def delete_shadows_txn(
    txn: Transaction,
    media: MediaStore,
    name: ObjectName,
    sha256_hash: str,
    our_servers: Collection[str],
) -> int:
    """Delete the shadow rows of a thumbnail's object, if no thumbnail is left on it.

    The last one takes the object along. What might be real is left alone: media of
    other servers have no uploader either, so a shadow must be of ours; it has no
    thumbnails itself, and nobody has set anything on it.

    Returns:
        How many there were.
    """
    where = "datastore_id = ? AND location = ?"
    at = (name.datastore_id, name.location)
    if txn.fetch_value(
        f"SELECT EXISTS (SELECT 1 FROM thumbnails WHERE {where})",  # noqa: S608
        at,
    ):
        return 0
    txn.execute(
        "SELECT origin, media_id FROM media AS m"  # noqa: S608
        f" WHERE {where} AND sha256_hash = ? AND user_id = ''"
        " AND upload_name = '' AND NOT quarantined"
        " AND NOT EXISTS (SELECT 1 FROM media_attributes AS a"
        " WHERE a.media_id = m.media_id AND a.origin = m.origin)"
        " AND NOT EXISTS (SELECT 1 FROM thumbnails AS t"
        " WHERE t.media_id = m.media_id AND t.origin = m.origin)",
        (*at, sha256_hash),
    )
    shadows = [row for row in txn.fetchall() if row[0] in our_servers]
    for origin, media_id in shadows:
        media.delete_media_txn(txn, origin, media_id)
        txn.execute(
            "DELETE FROM restricted_media WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
    return len(shadows)
