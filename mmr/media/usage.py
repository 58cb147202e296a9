"""Who stores how much, as streams: no answer is larger than memory should hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import attrs

from mmr.storage.usage import Upload, UsageStore, UserTotals
from mmr.types import Mxc

_PAGE = 500
_START = (-(1 << 62), "")


@attrs.frozen
class UserUploads:
    """What one user uploaded.

    Attributes:
        media_ids: All of it, oldest first.
    """

    totals: UserTotals
    media_ids: list[str]


class Usage:
    """Lists uploads and who made them."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store

    async def users(
        self, origin: str, user_ids: Sequence[str] = ()
    ) -> AsyncIterator[UserUploads]:
        """The users of a server who uploaded something.

        Args:
            user_ids: Only these; empty: all.
        """
        if user_ids:
            for user_id in dict.fromkeys(user_ids):
                totals = await self._store.get_totals_of(origin, user_id)
                if totals is not None:
                    yield await self._with_uploads(origin, totals)
            return
        after = ""
        while page := await self._store.get_user_totals(origin, after, _PAGE):
            for totals in page:
                yield await self._with_uploads(origin, totals)
            after = page[-1].user_id

    async def _with_uploads(self, origin: str, totals: UserTotals) -> UserUploads:
        media_ids: list[str] = []
        place = _START
        while page := await self._store.get_uploads_of(
            origin, totals.user_id, place, _PAGE
        ):
            media_ids += [media_id for _, media_id in page]
            place = page[-1]
            if len(page) < _PAGE:
                break
        return UserUploads(totals, media_ids)

    async def uploads(
        self, origin: str, media: Sequence[Mxc] = ()
    ) -> AsyncIterator[Upload]:
        """The media of a server.

        Args:
            media: Only these; empty: all.
        """
        if media:
            for upload in await self._store.get_named_uploads(
                list(dict.fromkeys(media))
            ):
                yield upload
            return
        place = _START
        while page := await self._store.get_uploads(origin, place, _PAGE):
            for upload in page:
                yield upload
            place = (page[-1].creation_ts, page[-1].media_id)
