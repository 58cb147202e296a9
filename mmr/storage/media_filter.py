"""Which media an admin action is about, and the same in SQL."""

from __future__ import annotations

import attrs

from mmr.types import Mxc

PINNED = (
    "EXISTS (SELECT 1 FROM media_attributes AS a WHERE a.media_id = {m}.media_id"
    " AND a.origin = {m}.origin AND a.purpose = 'pinned')"
)
"""Whether a record is protected; ``{m}`` is its table's alias."""


@attrs.frozen(kw_only=True)
class MediaFilter:
    """Which records are meant: those for which all that is set is true.

    Attributes:
        media: One of these, however many there are.
        user_id: Uploaded by this user.
        origin: Of this server.
        sha256_hash: With this content.
        quarantined: Whether they are.
        created_before: ms since the epoch.
        unused_since: Neither created nor asked for since then, ms.
        larger_than: Bytes.
        foreign_to: Neither of one of these servers, nor sharing their content with
            one of theirs, nor with media created since ``created_before`` (or
            ``unused_since``); mmr-storage §2.14.
        has_object: Whether their bytes are kept. Quarantined media that was purged
            leaves a record without an object behind, so that the hash stays blocked.
    """

    media: tuple[Mxc, ...] | None = None
    user_id: str | None = None
    origin: str | None = None
    sha256_hash: str | None = None
    quarantined: bool | None = None
    created_before: int | None = None
    unused_since: int | None = None
    larger_than: int | None = None
    foreign_to: frozenset[str] | None = None
    has_object: bool | None = None


def filter_sql(wanted: MediaFilter, alias: str) -> tuple[str, list[object]]:
    """``AND …`` for each condition but the names, and the values in it."""
    m = alias
    parts: list[tuple[str, list[object]]] = []
    for column in ("user_id", "origin", "sha256_hash"):
        value = getattr(wanted, column)
        if value is not None:
            parts.append((f"{m}.{column} = ?", [value]))
    if wanted.quarantined is not None:
        parts.append((f"{'' if wanted.quarantined else 'NOT '}{m}.quarantined", []))
    if wanted.has_object is not None:
        parts.append((f"{m}.location {'<>' if wanted.has_object else '='} ''", []))
    if wanted.larger_than is not None:
        parts.append((f"{m}.size_bytes > ?", [wanted.larger_than]))
    if wanted.created_before is not None:
        parts.append((f"{m}.creation_ts < ?", [wanted.created_before]))
    if wanted.unused_since is not None:
        parts.append((f"{m}.creation_ts < ?", [wanted.unused_since]))
        accessed = "SELECT l.last_access_ts FROM last_access AS l"
        accessed += f" WHERE l.sha256_hash = {m}.sha256_hash"
        parts.append(
            (
                f"COALESCE(({accessed}), {m}.creation_ts) < ?",
                [wanted.unused_since],
            )
        )
    if wanted.foreign_to is not None:
        parts.append(_foreign_sql(wanted, wanted.foreign_to, m))
    return (
        "".join(f" AND {text}" for text, _ in parts),
        [value for _, values in parts for value in values],
    )


def _foreign_sql(
    wanted: MediaFilter, ours: frozenset[str], m: str
) -> tuple[str, list[object]]:
    limits = [
        limit
        for limit in (wanted.created_before, wanted.unused_since)
        if limit is not None
    ]
    names = sorted(ours)
    marks = ", ".join("?" * len(names)) or "NULL"
    needed, values = f"x.origin IN ({marks})", list[object](names)
    if limits:
        needed, values = f"(x.creation_ts >= ? OR {needed})", [min(limits), *names]
    outside = f"{m}.origin NOT IN ({marks}) AND " if names else ""
    return (
        f"{outside}NOT EXISTS (SELECT 1 FROM media AS x"  # noqa: S608
        f" WHERE x.sha256_hash = {m}.sha256_hash AND {needed})",
        [*names, *values],
    )
