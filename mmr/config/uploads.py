"""``uploads``: what users may store."""

from __future__ import annotations

from mmr.config._base import Section, section, setting
from mmr.config._values import Flag, Int, Natural, Text


class QuotaRuleConfig(Section):
    """A rule for some users. The first rule that fits a user counts."""

    glob: Text = setting(
        ..., "User ids; `*` stands for any run of characters.", "@*:example.org"
    )
    max_bytes: Natural = setting(
        0, "Bytes that a user may store in all; 0: no limit.", 53687063712
    )
    max_pending: Natural = setting(
        0, "Reserved but not yet uploaded media; 0: no limit.", 5
    )
    max_files: Natural = setting(
        0, "Files that a user may store in all; 0: no limit.", 1000
    )


class QuotasConfig(Section):
    """Shares of users. Usage is counted whether or not they are enforced."""

    enabled: Flag = setting(False, "Enforce the rules below.", True)
    users: tuple[QuotaRuleConfig, ...] = setting(
        (), "The rules, first match wins.", [{"glob": "@*:*", "maxBytes": 53687063712}]
    )


class UploadsConfig(Section):
    """What users may store."""

    RETIRED = {"allowedTypes": "types of uploads can't be restricted"}

    max_bytes: Natural = setting(
        104857600, "Largest upload in bytes; 0: no limit.", 52428800
    )
    min_bytes: Natural = setting(
        100, "Smallest upload in bytes by its declared length; 0: off.", 1
    )
    reported_max_bytes: Int = setting(
        0,
        "The limit that clients are told; 0: `maxBytes`, negative: none is told.",
        52428800,
    )
    max_pending: Natural = setting(
        5, "Media that a user may reserve ahead of uploading; 0: no limit.", 10
    )
    max_age_seconds: Natural = setting(
        1800, "How long a reserved id waits for its upload.", 3600
    )
    min_free_bytes: Natural = setting(
        1073741824,
        "Free space that is kept on the disk of a file datastore. Below it uploads are"
        " refused, and remote media is passed on without being kept.",
        10737418240,
    )
    quotas: QuotasConfig = section(QuotasConfig)
