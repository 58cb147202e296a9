"""Where the admin endpoints are."""

from __future__ import annotations

UNSTABLE = ("unstable", "unstable/io.t2bot.media")
"""The parts that MMR's own routes have both of (mmr-http-api.md, ``U``)."""

ADMIN_PREFIXES = tuple(f"/_matrix/media/{part}/admin" for part in UNSTABLE)
