"""How many bytes, files and pending ids a user may have (``uploads.quotas``)."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache

import attrs

from mmr.config.uploads import UploadsConfig
from mmr.errors import quota_exceeded
from mmr.storage.quotas import QuotaLimits, QuotaStore
from mmr.storage.transaction import Transaction

# A chunked body doesn't say its size: space for it is reserved in steps of this size.
_STEP_BYTES = 16 * 1024 * 1024


@attrs.frozen(slots=True)
class UserLimits:
    """One user's limits. 0 means no limit (D52).

    Attributes:
        storage: For bytes and files.
        max_pending: Ids that may wait for their upload; None is no limit.
    """

    storage: QuotaLimits = attrs.Factory(QuotaLimits)
    max_pending: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether an upload has to be counted against anything."""
        return bool(self.storage.max_bytes or self.storage.max_files)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    # Only * is special, it matches any run of characters (mmr-config.md §4.7).
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def limits_for(uploads: UploadsConfig, user_id: str) -> UserLimits:
    """The limits of a user: the first rule whose glob matches the whole user id."""
    rules = uploads.quotas.users if uploads.quotas.enabled else ()
    for rule in rules:
        if _glob(rule.glob).fullmatch(user_id):
            # A rule that doesn't say inherits the general limit, as documented (D52).
            says = "max_pending" in rule.model_fields_set
            pending = rule.max_pending if says else uploads.max_pending
            return UserLimits(
                QuotaLimits(rule.max_bytes, rule.max_files), pending or None
            )
    return UserLimits(max_pending=uploads.max_pending or None)


class QuotaReservation:
    """Space that one upload holds until it is committed or given up (R81).

    Args:
        store: The reservations' table.
        user_id: Whose quota it is.
        limits: That user's limits. Without any, nothing is written.
    """

    def __init__(self, store: QuotaStore, user_id: str, limits: UserLimits) -> None:
        self._store = store
        self._user_id = user_id
        self._limits = limits
        self._id = secrets.token_hex(16)
        self._reserved = -1

    async def cover(self, size_bytes: int, *, is_final: bool) -> None:
        """Make sure that ``size_bytes`` are reserved.

        Args:
            size_bytes: What the upload is known to take so far.
            is_final: It won't grow; else a step more is reserved with it.

        Raises:
            MatrixError: 403 when the quota doesn't hold them.
        """
        if not self._limits.is_limited or size_bytes <= self._reserved:
            return
        if not is_final and await self._try(size_bytes + _STEP_BYTES):
            return
        if not await self._try(size_bytes):
            raise quota_exceeded()

    async def _try(self, size_bytes: int) -> bool:
        if not await self._store.reserve(
            self._id, self._user_id, size_bytes, self._limits.storage
        ):
            return False
        self._reserved = size_bytes
        return True

    def release_txn(self, txn: Transaction) -> None:
        """Give the reservation up inside the transaction that books the upload.

        Raises:
            MatrixError: 403 when it has ended by its age, and what it held is taken.
        """
        if self._reserved < 0 or self._store.release_txn(txn, self._id):
            return
        limits = self._limits.storage
        if not self._store.reserve_txn(
            txn, self._id, self._user_id, self._reserved, limits
        ):
            raise quota_exceeded()
        self._store.release_txn(txn, self._id)

    async def release(self) -> None:
        """Give the reservation up: the upload failed, or took no new space."""
        if self._reserved >= 0:
            self._reserved = -1
            await self._store.release(self._id)
