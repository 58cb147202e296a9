"""What an admin action is about, and how far the admin's arm reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from mmr.storage.media_filter import MediaFilter
from mmr.storage.selection import SelectedMedia
from mmr.types import Mxc


@attrs.frozen
class Selection:
    """Media to act on. The functions below make the usual ones.

    Attributes:
        filter: Which records.
        target: The same in words, for the audit log: an MXC URI, a user id, ….
        is_single: One media that was named: to purge it out of reach is refused.
    """

    filter: MediaFilter
    target: str
    is_single: bool = False

    def created_before(self, before_ts: int | None) -> Selection:
        """Only what was created before this time (ms); None: no change."""
        if before_ts is None:
            return self
        return attrs.evolve(
            self, filter=attrs.evolve(self.filter, created_before=before_ts)
        )


def one(mxc: Mxc) -> Selection:
    """One media."""
    return Selection(MediaFilter(media=(mxc,)), str(mxc), is_single=True)


def many(media: Iterable[Mxc], target: str) -> Selection:
    """These media, such as those of a room."""
    # Each once: a record must not be met twice.
    return Selection(MediaFilter(media=tuple(dict.fromkeys(media))), target)


def of_user(user_id: str) -> Selection:
    """All that a user uploaded."""
    return Selection(MediaFilter(user_id=user_id), user_id)


def of_server(server_name: str) -> Selection:
    """All that came from a server, one of ours or another."""
    return Selection(MediaFilter(origin=server_name), server_name)


def with_hash(sha256_hash: str) -> Selection:
    """All copies of one content."""
    return Selection(MediaFilter(sha256_hash=sha256_hash), f"sha256:{sha256_hash}")


def quarantined(origin: str | None = None) -> Selection:
    """All that is quarantined, or that of one server."""
    target = f"quarantined of {origin}" if origin else "quarantined"
    return Selection(MediaFilter(quarantined=True, origin=origin), target)


def remote(
    before_ts: int, our_servers: Collection[str], *, larger_than: int | None = None
) -> Selection:
    """Remote media fetched before a time (ms) whose content nobody else needs.

    Quarantined media is left alone (mmr-http-api §11.2).
    """
    wanted = MediaFilter(
        created_before=before_ts,
        foreign_to=frozenset(our_servers),
        quarantined=False,
        larger_than=larger_than,
    )
    return Selection(wanted, f"remote before {before_ts}")


def unused_remote(before_ts: int, our_servers: Collection[str]) -> Selection:
    """Remote media last asked for before a time, ms (D23)."""
    wanted = MediaFilter(unused_since=before_ts, foreign_to=frozenset(our_servers))
    return Selection(wanted, f"remote unused since {before_ts}")


def unused(
    before_ts: int, *, origin: str | None = None, larger_than: int | None = None
) -> Selection:
    """Media last asked for before a time (ms), of all servers or one."""
    wanted = MediaFilter(unused_since=before_ts, origin=origin, larger_than=larger_than)
    return Selection(wanted, f"{origin or 'all'} unused since {before_ts}")


@attrs.frozen
class Reach:
    """Which records an actor may touch. Without anything set: all.

    Attributes:
        origin: Only records of this server: for its own admins.
        user_id: Only uploads of this user: for everybody else.
    """

    origin: str | None = None
    user_id: str | None = None

    @property
    def is_global(self) -> bool:
        """Whether it covers everything."""
        return self.origin is None and self.user_id is None

    def covers(self, record: SelectedMedia) -> bool:
        """Whether a record lies within it."""
        if self.origin not in (None, record.origin):
            return False
        if self.user_id is None:
            return True
        # What was quarantined may be evidence: its uploader can't clear it away.
        return record.user_id == self.user_id and not record.quarantined


EVERYTHING = Reach()
"""For repository admins."""


@attrs.frozen
class Order:
    """What somebody wants done, apart from the deed itself.

    Attributes:
        actor: Who, for the audit log.
        reason: Why.
        entry_id: Of its entry in the audit log, when that has begun.
    """

    selection: Selection
    reach: Reach
    actor: str
    reason: str = ""
    entry_id: int | None = None


@attrs.frozen
class Skipped:
    """A media that was left as it is.

    Attributes:
        reason: ``pinned``, ``not_permitted`` (out of the actor's reach), ``unknown``
            (named, but not here), ``purged`` (nothing is left to release) or
            ``still_public`` (quarantined, but an object of it can't be moved away from
            its public URL).
    """

    mxc: Mxc
    reason: str
