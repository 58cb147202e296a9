"""Media that moves in."""

from __future__ import annotations

from functools import cached_property

from mmr.media.adopt import Adoptions
from mmr.media.adopt_located import LocatedObjects
from mmr.media.small_files import SmallFiles
from mmr.server.moderation import Moderation
from mmr.storage.adoption import AdoptionStore
from mmr.tasks.in_place import InPlace


class Adopting(Moderation):
    """Keeps what archives and other servers' stores hold."""

    @cached_property
    def adoptions(self) -> Adoptions:
        return Adoptions(
            config=lambda: self.config,
            media=self.stores.media,
            datastores=self.datastores,
            committer=self.committer,
            small_files=self._small_files,
            located=LocatedObjects(self.db, self.stores.media, self.files),
            records=self.media_records,
            scanning=self.scanning,
            withdraw=self._withdraw,
        )

    @cached_property
    def in_place(self) -> InPlace:
        return InPlace(self.stores.registrations, self.media_changed)

    @cached_property
    def _small_files(self) -> SmallFiles:
        return SmallFiles(
            db=self.db,
            store=AdoptionStore(),
            intents=self.stores.intents,
            committer=self.committer,
            ids=self.ids,
        )
