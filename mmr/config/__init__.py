"""The configuration: one module a top-level section, in MMR's own keys.

Files are read by `load_config`; a `Config` never changes, a reload makes a new one.
"""

from mmr.config._load import load_config
from mmr.config.changes import restart_needed
from mmr.config.environment import config_paths, machine_id
from mmr.config.generate import generate_config
from mmr.config.reference import reference_markdown
from mmr.config.root import Config, DomainConfig, SharedSections

__all__ = [
    "Config",
    "DomainConfig",
    "SharedSections",
    "config_paths",
    "generate_config",
    "load_config",
    "machine_id",
    "reference_markdown",
    "restart_needed",
]
