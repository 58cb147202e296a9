"""Conditions on several columns at once, that both engines answer from an index."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmr.storage.objects import ObjectName
from mmr.storage.transaction import placeholders
from mmr.types import Mxc


def of_media(media: Collection[Mxc], alias: str = "") -> tuple[str, list[object]]:
    """``WHERE`` these media, and the values in it.

    Args:
        alias: Of the table, with its dot.
    """
    pairs = [(mxc.media_id, mxc.origin) for mxc in media]
    return among((f"{alias}media_id", f"{alias}origin"), pairs)


def of_objects(names: Collection[ObjectName]) -> tuple[str, list[object]]:
    """``WHERE`` these objects, and the values in it."""
    pairs = [(name.datastore_id, name.location) for name in names]
    return among(("datastore_id", "location"), pairs)


def among(
    columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> tuple[str, list[object]]:
    """``WHERE`` these columns have the values of one of these rows.

    The first two lead an index. With row values alone, SQLite reads the table whole.
    """
    condition, values = [], list[object]()
    for at in (0, 1):
        some = list(dict.fromkeys(row[at] for row in rows))
        condition.append(f"{columns[at]} IN ({','.join('?' * len(some))})")
        values += some
    marks, flat = placeholders(rows)
    condition.append(f"({','.join(columns)}) IN (VALUES {marks})")
    return " AND ".join(condition), [*values, *flat]
