"""What does imports."""

from __future__ import annotations

from functools import cached_property

from mmr.server.exporting import Exporting
from mmr.tasks.import_data import ImportData


class Importing(Exporting):
    """Imports, as far as they are tasks."""

    @cached_property
    def import_data(self) -> ImportData:
        return ImportData(
            store=self.stores.imports,
            media=self.stores.media,
            adoptions=self.adoptions,
            datastores=self.datastores,
            files=self.files,
            config=lambda: self.config,
            clock=self.clock,
        )
