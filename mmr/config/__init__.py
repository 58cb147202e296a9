"""The configuration: one module a top-level section, in MMR's own keys.

Files are read by `load_config`; a `Config` never changes, a reload makes a new one.
"""

from mmr.config._load import load_config
from mmr.config.changes import restart_needed
from mmr.config.environment import config_paths, machine_id
from mmr.config.root import Config, DomainConfig, SharedSections

__all__ = [
    "Config",
    "DomainConfig",
    "SharedSections",
    "config_paths",
    "load_config",
    "machine_id",
    "restart_needed",
]
