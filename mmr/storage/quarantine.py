"""Setting and lifting quarantine, content by content."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
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
            hashes: Some; a page of a selection.
            origin: Only records of this server.
        """
        wanted = sorted(hashes)
        objects.lock_hashes_txn(txn, wanted)
        step = QuarantineStep()
        if not quarantined:
            step.removed = _remove_empty_txn(txn, wanted, origin)
        changed = _flag_txn(txn, wanted, quarantined, origin)
        step.changed = [mxc for mxc, _ in changed]
        step.contents = {sha256_hash for _, sha256_hash in changed}
        if quarantined:
            self._drop_thumbnails_txn(txn, step, wanted, origin)
        if step.changed:
            made = self._thumbnails.get_of_all_txn(txn, step.changed)
            step.contents.update(each.sha256_hash for each in made)
        most = max(len(step.changed), len(step.removed), len(step.thumbnails))
        if most < _MAX_ROWS:
            step.pinned = _pinned_txn(txn, wanted, origin)
        else:
            step.rest = wanted
        return step

    def _drop_thumbnails_txn(
        self,
        txn: Transaction,
        step: QuarantineStep,
        hashes: Sequence[str],
        origin: str | None,
    ) -> None:
        """Thumbnails that are this content: somebody uploaded one, and it was bad."""
        found = self._thumbnails.get_quarantined_txn(txn, hashes, origin, _MAX_ROWS)
        for record in found:
            self._thumbnails.delete_thumbnail_txn(txn, record)
            step.thumbnails.append(Mxc(record.key.origin, record.key.media_id))
            step.contents.add(record.sha256_hash)


def _flag_txn(
    txn: Transaction, hashes: Sequence[str], quarantined: bool, origin: str | None
) -> list[tuple[Mxc, str]]:
    txn.execute(
        "UPDATE media SET quarantined = ? WHERE (media_id, origin) IN"  # noqa: S608
        " (SELECT m.media_id, m.origin FROM media AS m"
        f" WHERE m.sha256_hash IN ({_marks(hashes)})"
        f" AND m.quarantined = ? AND NOT {_PINNED} AND {_IN_REACH} LIMIT ?)"
        " RETURNING origin, media_id, sha256_hash",
        (quarantined, *hashes, not quarantined, *_reach(origin), _MAX_ROWS),
    )
    return [(Mxc(*row[:2]), row[2]) for row in txn.fetchall()]


def _remove_empty_txn(
    txn: Transaction, hashes: Sequence[str], origin: str | None
) -> list[Mxc]:
    """Records that only kept the hash blocked."""
    txn.execute(
        "DELETE FROM media WHERE (media_id, origin) IN"  # noqa: S608
        " (SELECT m.media_id, m.origin FROM media AS m"
        f" WHERE m.sha256_hash IN ({_marks(hashes)})"
        f" AND m.quarantined AND m.location = '' AND {_IN_REACH} LIMIT ?)"
        " RETURNING origin, media_id",
        (*hashes, *_reach(origin), _MAX_ROWS),
    )
    return [Mxc(*row) for row in txn.fetchall()]


def _pinned_txn(
    txn: Transaction, hashes: Sequence[str], origin: str | None
) -> list[Mxc]:
    txn.execute(
        "SELECT m.origin, m.media_id FROM media AS m"  # noqa: S608
        f" WHERE m.sha256_hash IN ({_marks(hashes)})"
        f" AND {_PINNED} AND {_IN_REACH} LIMIT ?",
        (*hashes, *_reach(origin), _MAX_ROWS),
    )
    return [Mxc(*row) for row in txn.fetchall()]


def _marks(hashes: Sequence[str]) -> str:
    return ",".join("?" * len(hashes))


def _reach(origin: str | None) -> tuple[bool, str]:
    # The query adds '' to the column: SQLite shall go by the hash, not the server.
    return origin is None, origin or ""
