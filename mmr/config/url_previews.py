"""``urlPreviews``: what a link shows, and which networks it may reach."""

from __future__ import annotations

from typing import Annotated

from mmr.config._base import Mark, Section, setting
from mmr.config._values import Cidr, Exemption, Flag, Int, Natural, Text, workers
from mmr.config.downloads import WORKERS_WHEN_UNLIMITED

DISALLOWED_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fe80::/64",
    "fc00::/7",
)


class UrlPreviewsConfig(Section):
    """Previews of links."""

    enabled: Flag = setting(True, "Off: the endpoint answers not-found.", False)
    num_words: Natural = setting(50, "Words kept of a description.", 30)
    max_length: Natural = setting(200, "Characters kept of a description.", 300)
    num_title_words: Natural = setting(30, "Words kept of a title.", 20)
    max_title_length: Natural = setting(150, "Characters kept of a title.", 100)
    max_page_size_bytes: Natural = setting(
        10485760, "Bytes read of a page; 0: no limit of its own.", 5242880
    )
    file_preview_types: tuple[Text, ...] = setting(
        ("image/*",),
        "Types of files that are previewed as themselves; `*` is a wildcard.",
        ["image/*", "video/*"],
    )
    disallowed_networks: tuple[Cidr, ...] = setting(
        DISALLOWED_NETWORKS,
        "Networks that are refused, beside the private and reserved ones that always"
        " are.",
        ["198.51.100.0/24"],
    )
    allowed_networks: tuple[Cidr, ...] = setting(
        ("0.0.0.0/0", "::/0"),
        "Of what is left, only these networks are reached.",
        ["0.0.0.0/0"],
    )
    exempt_networks: tuple[Exemption, ...] = setting(
        (),
        "Private networks that previews may reach in spite of all that.",
        ["10.1.2.0/24"],
    )
    preview_unsafe_certificates: Flag = setting(
        False, "Don't check the certificates of previewed sites.", True
    )
    default_language: Text = setting(
        "en-US,en", "`Accept-Language` when the client sent none.", "de,en"
    )
    user_agent: Text = setting(
        "matrix-media-repo", "`User-Agent` towards sites.", "example.org previews"
    )
    o_embed: Flag = setting(False, "Try oEmbed first.", True)
    num_workers: Annotated[Int, workers(WORKERS_WHEN_UNLIMITED)] = setting(
        10,
        "Previews made at the same time; 0 or less takes 100.",
        20,
        Mark.MAIN_ONLY,
    )
    expire_after_days: Int = setting(
        0,
        "Stored previews older than this are removed; 0 or less: never.",
        7,
        Mark.MAIN_ONLY,
    )
