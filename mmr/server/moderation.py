"""Purging, quarantine, and who did it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import cached_property

from twisted.internet.defer import Deferred

from mmr.auth.sessions import Sessions
from mmr.errors import MatrixError
from mmr.media.audit import AuditLog
from mmr.media.purge import Purge
from mmr.media.quarantine import Quarantine
from mmr.media.rekey import Rekey
from mmr.media.remote_expiry import RemoteMediaExpiry
from mmr.media.serving import Serving, Stoppable
from mmr.media.usage import Usage
from mmr.server.previewing import Previewing
from mmr.types import Mxc

logger = logging.getLogger(__name__)


class Moderation(Previewing):
    """What admins can do to media."""

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.homeservers, self.token_cache, self.announce_logout)

    @cached_property
    def serving(self) -> Serving:
        return Serving()

    @cached_property
    def audit(self) -> AuditLog:
        return AuditLog(self.stores.audit)

    @cached_property
    def usage(self) -> Usage:
        return Usage(self.stores.usage)

    @cached_property
    def purge(self) -> Purge:
        return Purge(
            db=self.db,
            selections=self.stores.selections,
            removal=self.stores.removal,
            thumbnails=self.stores.thumbnails,
            audit=self.audit,
            our_servers=lambda: self.config.domains.keys(),
            changed=self.media_changed,
            purged=self._contents_purged,
        )

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(
            db=self.db,
            selections=self.stores.selections,
            store=self.stores.quarantine,
            changes=self.stores.quarantine_changes,
            audit=self.audit,
            withdraw=self._withdraw,
            unpublish=self.rekey.run,
        )

    @cached_property
    def rekey(self) -> Rekey:
        return Rekey(
            store=self.stores.public_objects,
            transfers=self.stores.transfers,
            intents=self.stores.intents,
            datastores=self.datastores,
            ids=self.ids,
            delete=self.sweep.delete_now,
            changed=self.media_changed,
        )

    @cached_property
    def remote_expiry(self) -> RemoteMediaExpiry:
        return RemoteMediaExpiry(
            self.purge,
            self.stores.selections,
            self.clock,
            days=lambda: self.config.downloads.expire_after_days,
            our_servers=lambda: self.config.domains.keys(),
        )

    def media_changed(self, mxc: Mxc) -> None:
        """A record was changed or deleted: forget it, here and in other processes."""
        self.media_records.invalidate(mxc)
        self.thumbnails.forget(mxc)

    async def _withdraw(
        self, media: Collection[Mxc], contents: Collection[str]
    ) -> None:
        for mxc in media:
            self.media_changed(mxc)
        self.serving.cut(media)
        for sha256_hash in contents:
            await self.content_cache.remove(sha256_hash)

    async def _contents_purged(self, contents: Collection[str]) -> None:
        await self.content_cache.drop(contents)
        for sha256_hash in contents:
            self.announce_purge(sha256_hash)

    def content_removed(self, sha256_hash: str) -> None:
        """Another process has withdrawn this content."""
        self.content_cache.forget(sha256_hash)
        answers = self.serving.answers_with(sha256_hash)
        # The word may come late, when what it meant was released again.
        Deferred.fromCoroutine(self.cut_quarantined(answers, in_doubt=True))

    async def cut_quarantined(
        self, answers: Mapping[Stoppable, Mxc], *, in_doubt: bool
    ) -> None:
        """Break off the answers with what is quarantined by now.

        Args:
            in_doubt: Also those of which the database says nothing.
        """
        if not answers:
            return
        try:
            found = await self.stores.media.get_several(list(set(answers.values())))
        except MatrixError as error:
            logger.warning("Not known whether all that is being sent may be: %s", error)
            found = {}
        self.serving.stop(
            [
                request
                for request, mxc in answers.items()
                if (found[mxc].quarantined if mxc in found else in_doubt)
            ]
        )
