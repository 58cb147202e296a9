"""What makes exports."""

from __future__ import annotations

from functools import cached_property

from mmr.server.adopting import Adopting
from mmr.tasks.export_data import ExportData


class Exporting(Adopting):
    """Exports, as far as they are tasks."""

    @cached_property
    def export_data(self) -> ExportData:
        return ExportData(
            stores=self.stores,
            datastores=self.datastores,
            content=self.content,
            ids=self.ids,
            files=self.files,
            config=lambda: self.config,
        )
