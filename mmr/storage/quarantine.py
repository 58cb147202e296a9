"""Setting and lifting quarantine, content by content."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.media import MediaStore
from mmr.storage.media_filter import PINNED
from mmr.storage.thumbnails import ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

# Records a transaction: strangers decide how often one content is uploaded.
_MAX_ROWS = 200

_IN_REACH = "(? OR m.origin || '' = ?)"
_PINNED = PINNED.format(m="m")


@attrs.define
class QuarantineStep:
    """What one transaction did.

    Attributes:
        changed: The records; what caches know of them is void.
        removed: Records of purged media, released: nothing was left of them.
        thumbnails: Media that lost thumbnails which were this very content.
        pinned: Records that stay as they are.
        contents: What may not be served any more: the contents and their thumbnails.
        rest: Contents that another transaction has to go on with.
    """

    changed: list[Mxc] = attrs.Factory(list)
    removed: list[Mxc] = attrs.Factory(list)
    thumbnails: list[Mxc] = attrs.Factory(list)
    pinned: list[Mxc] = attrs.Factory(list)
    contents: set[str] = attrs.Factory(set)
    rest: list[str] = attrs.Factory(list)

    @property
    def touched(self) -> set[Mxc]:
        """All media of which something changed."""
        return {*self.changed, *self.removed, *self.thumbnails}


class QuarantineStore:
    """Changes the flag on all records with one content."""

    def __init__(self, db: Database) -> None:
        self._media = MediaStore(db)
        self._thumbnails = ThumbnailStore(db)

    def step_txn(
        self,
        txn: Transaction,
        hashes: Sequence[str],
        quarantined: bool,
        origin: str | None,
    ) -> QuarantineStep:
        """Change the records with these contents that are not pinned, or some of them.

        From a content's first record on no other can come: commits look inside of the
        same lock (R86).

        Args:
            origin: Only records of this server.
        """
        step = QuarantineStep(rest=sorted(hashes))
        # In one order, so that two calls don't wait for each other.
        while step.rest and len(step.touched) < _MAX_ROWS:
            sha256_hash = step.rest[0]
            objects.lock_hash_txn(txn, sha256_hash)
            if self._change_txn(txn, step, sha256_hash, quarantined, origin):
                step.pinned += _pinned_txn(txn, sha256_hash, origin)
                del step.rest[0]
        return step

    def _change_txn(
        self,
        txn: Transaction,
        step: QuarantineStep,
        sha256_hash: str,
        quarantined: bool,
        origin: str | None,
    ) -> bool:
        """Returns whether this content is done."""
        removed = thumbnails = list[Mxc]()
        if not quarantined:
            removed = _remove_empty_txn(txn, sha256_hash, origin)
        changed = _flag_txn(txn, sha256_hash, quarantined, origin)
        if quarantined and self._media.is_quarantined_hash_txn(txn, sha256_hash):
            thumbnails = self._drop_thumbnails_txn(txn, sha256_hash, origin)
        step.changed += changed
        step.removed += removed
        step.thumbnails += thumbnails
        if changed or removed or thumbnails:
            step.contents.add(sha256_hash)
        for mxc in changed:
            step.contents.update(
                each.sha256_hash
                for each in self._thumbnails.get_thumbnails_of_txn(
                    txn, mxc.origin, mxc.media_id
                )
            )
        return max(len(changed), len(removed), len(thumbnails)) < _MAX_ROWS

    def _drop_thumbnails_txn(
        self, txn: Transaction, sha256_hash: str, origin: str | None
    ) -> list[Mxc]:
        """Thumbnails that are this content: somebody uploaded one, and it was bad."""
        found = self._thumbnails.get_with_hash_txn(txn, sha256_hash, _MAX_ROWS)
        found = [row for row in found if origin in (None, row.key.origin)]
        for record in found:
            self._thumbnails.delete_thumbnail_txn(txn, record)
        return [Mxc(record.key.origin, record.key.media_id) for record in found]


def _flag_txn(
    txn: Transaction, sha256_hash: str, quarantined: bool, origin: str | None
) -> list[Mxc]:
    txn.execute(
        "UPDATE media SET quarantined = ? WHERE (media_id, origin) IN"  # noqa: S608
        " (SELECT m.media_id, m.origin FROM media AS m WHERE m.sha256_hash = ?"
        f" AND m.quarantined = ? AND NOT {_PINNED} AND {_IN_REACH} LIMIT ?)"
        " RETURNING origin, media_id",
        (quarantined, sha256_hash, not quarantined, *_reach(origin), _MAX_ROWS),
    )
    return [Mxc(*row) for row in txn.fetchall()]


def _remove_empty_txn(
    txn: Transaction, sha256_hash: str, origin: str | None
) -> list[Mxc]:
    """Records that only kept the hash blocked."""
    txn.execute(
        "DELETE FROM media WHERE (media_id, origin) IN"  # noqa: S608
        " (SELECT m.media_id, m.origin FROM media AS m WHERE m.sha256_hash = ?"
        f" AND m.quarantined AND m.location = '' AND {_IN_REACH} LIMIT ?)"
        " RETURNING origin, media_id",
        (sha256_hash, *_reach(origin), _MAX_ROWS),
    )
    return [Mxc(*row) for row in txn.fetchall()]


def _pinned_txn(txn: Transaction, sha256_hash: str, origin: str | None) -> list[Mxc]:
    txn.execute(
        "SELECT m.origin, m.media_id FROM media AS m"  # noqa: S608
        f" WHERE m.sha256_hash = ? AND {_PINNED} AND {_IN_REACH} LIMIT ?",
        (sha256_hash, *_reach(origin), _MAX_ROWS),
    )
    return [Mxc(*row) for row in txn.fetchall()]


def _reach(origin: str | None) -> tuple[bool, str]:
    # The query adds '' to the column: SQLite shall go by the hash, not the server.
    return origin is None, origin or ""
