"""Where the admin endpoints are."""

from __future__ import annotations

ADMIN_PREFIXES = (
    "/_matrix/media/unstable/admin",
    "/_matrix/media/unstable/io.t2bot.media/admin",
)
