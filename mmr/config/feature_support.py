"""``featureSupport``: experiments of MMR 1.2."""

from __future__ import annotations

from pydantic import model_validator

from mmr.config._base import Mark, Section, section, setting
from mmr.config._values import Flag, Positive, Text, problem
from mmr.config.redis import RedisConfig


class Msc2448Config(Section):
    """Blurhashes (MSC2448)."""

    enabled: Flag = setting(False, "Make blurhashes when asked.", True)
    max_width: Positive = setting(1024, "Largest rendered width.", 512)
    max_height: Positive = setting(1024, "Largest rendered height.", 512)
    thumb_width: Positive = setting(64, "Width of the picture that is hashed.", 32)
    thumb_height: Positive = setting(64, "Height of the picture that is hashed.", 32)
    x_components: Positive = setting(4, "Components across, 1 to 9.", 5)
    y_components: Positive = setting(3, "Components down, 1 to 9.", 4)
    punch: Positive = setting(1, "Contrast of what is rendered.", 2)

    @model_validator(mode="after")
    def _components_fit(self) -> Msc2448Config:
        """A blurhash holds 9 components a side at most."""
        for key, value in (("x", self.x_components), ("y", self.y_components)):
            if value > 9:
                raise problem("expected 1 to 9", f"{key}Components")
        return self


class IpfsDaemonConfig(Section):
    """The IPFS node of matrix-media-repo 1.2. Without effect."""

    enabled: Flag = setting(True, "Without effect.", False)
    repo_path: Text = setting("./ipfs", "Without effect.", "/var/lib/ipfs")


class IpfsConfig(Section):
    """IPFS of matrix-media-repo 1.2. Not supported."""

    enabled: Flag = setting(False, "Without effect.", True)
    built_in_daemon: IpfsDaemonConfig = section(IpfsDaemonConfig, Mark.MAIN_ONLY)


class FeatureSupportConfig(Section):
    """Experiments of matrix-media-repo 1.2."""

    msc2448: Msc2448Config = section(Msc2448Config, alias="MSC2448")
    ipfs: IpfsConfig = section(IpfsConfig, alias="IPFS")
    redis: RedisConfig = section(RedisConfig, Mark.MAIN_ONLY)
