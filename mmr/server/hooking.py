"""The hooks that the configuration names, built from what they need."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

from mmr.config import Config
from mmr.config.operations import PluginConfig
from mmr.plugins.base import Plugin
from mmr.plugins.clamav import ClamAv
from mmr.plugins.hooks import Hook, Hooks
from mmr.plugins.module import ModulePlugin
from mmr.plugins.ocr import Ocr
from mmr.plugins.program import ProgramPlugin
from mmr.server.foundations import Foundations
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

# MMR's own program for this speaks a protocol of its own; ours takes its place.
_MMR_OCR = "plugin_antispam_ocr"


class Hooking(Foundations):
    """What looks at files before they are kept."""

    @cached_property
    def hooks(self) -> Hooks:
        return Hooks(self.build_hooks(self.config), self.clock, self.reactor)

    def build_hooks(self, config: Config) -> list[Hook]:
        """Hooks for a configuration. Programs are started when they are needed.

        Raises:
            ConfigError: one of them can't be used.
        """
        return [
            Hook(self._plugin(each), each.on_failure == "refuse", each.timeout_seconds)
            for each in config.plugins
        ]

    def _plugin(self, config: PluginConfig) -> Plugin:
        program = config.exec or ""
        if config.module == "clamav":
            return ClamAv(config.config, self.files, self.reactor)
        if config.module == "ocr" or PurePosixPath(program).name == _MMR_OCR:
            return Ocr(config.config, self.trusted_client, self._draw, self.files)
        if config.module:
            return ModulePlugin(config.module, config.config, self.files)
        return ProgramPlugin(program, config.config, self.clock, self.reactor)

    async def _draw(
        self, path: Path, content_type: str, sha256: str, width: int, height: int
    ) -> bytes:
        rendered = await self.thumbnail_pool.render(
            path,
            content_type,
            TargetSize(width, height, Method.SCALE),
            RenderOptions(max_source_bytes=1 << 40),
            key=sha256,
        )
        return rendered.data
