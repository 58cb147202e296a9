"""``archiving``, ``identicons``, ``quarantine`` and ``timeouts``: small sections."""

from __future__ import annotations

from mmr.config._base import Mark, Section, setting
from mmr.config._values import Flag, Natural, Positive, Text


class ArchivingConfig(Section):
    """Exports and imports."""

    enabled: Flag = setting(True, "Off: the endpoints answer an error.", False)
    self_service: Flag = setting(
        False,
        "Users may export their own data, and server admins their server's.",
        True,
    )
    target_bytes_per_part: Positive = setting(
        209715200,
        "Bytes after which a part of an export is closed. Good: twice the upload"
        " limit.",
        104857600,
    )
    expire_after_days: Natural = setting(
        30,
        "Exports older than this are removed; 0: never.",
        7,
        Mark.MAIN_ONLY,
    )


class IdenticonsConfig(Section):
    """Generated avatars."""

    enabled: Flag = setting(True, "Off: the endpoint answers not-found.", False)


class QuarantineConfig(Section):
    """What clients get in the place of quarantined media."""

    replace_thumbnails: Flag = setting(
        True, "Send a placeholder in the place of a thumbnail.", False
    )
    replace_downloads: Flag = setting(
        False, "Send a placeholder in the place of a download.", True
    )
    thumbnail_path: Text = setting(
        "",
        "The placeholder, 512×512 or larger. Empty: one is made.",
        "/etc/mmr/quarantined.png",
    )
    allow_local_admins: Flag = setting(
        True, "Homeserver admins may quarantine media of their own server.", False
    )


class TimeoutsConfig(Section):
    """How long others may take to answer."""

    url_preview_timeout_seconds: Positive = setting(10, "Previewed sites.", 20)
    federation_timeout_seconds: Positive = setting(120, "Remote media.", 60)
    client_server_timeout_seconds: Positive = setting(30, "Own homeservers.", 10)
