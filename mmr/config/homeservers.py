"""``homeservers``, ``admins`` and ``federation``: whom we serve and whom we ask."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from mmr.config._base import Mark, Section, setting
from mmr.config._values import (
    Exemption,
    FilePath,
    Flag,
    Int,
    Named,
    ServerName,
    Text,
    expected,
    workers,
)

ADMIN_API_KINDS = ("synapse", "dendrite", "matrix")

_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]\Z")


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_url = is_url and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment or parts.username is not None:
        raise expected("a base URL such as https://matrix.example.org")
    return value.rstrip("/")


def _admin_api_kind(value: str) -> str:
    if value not in {"", *ADMIN_API_KINDS}:
        raise expected(f"one of {', '.join(ADMIN_API_KINDS)}")
    return value or "matrix"


def _public_key(value: str) -> str:
    """Standard base64 of 32 bytes; the padding is dropped."""
    value = value.rstrip("=")
    if _PUBLIC_KEY.match(value) is None:
        raise expected("a public key: 43 characters of base64")
    return value


BaseUrl = Annotated[Text, AfterValidator(_base_url), Named("http(s) URL")]
AdminApiKind = Annotated[Text, AfterValidator(_admin_api_kind), Named("API kind")]
PublicKey = Annotated[Text, AfterValidator(_public_key), Named("public key (base64)")]
LowerServerName = Annotated[ServerName, AfterValidator(str.lower), Named("server name")]


class HomeserverConfig(Section):
    """A homeserver whose users keep their media here. One entry each.

    In a per-domain file these keys stand at the top, and `homeserver` takes the place
    of `name`.
    """

    name: LowerServerName = setting(
        ...,
        "Server name as in user ids. Requests have to name it as their host.",
        "example.org",
    )
    cs_api: BaseUrl = setting(
        ...,
        "Base URL of the client-server API, for checking access tokens.",
        "https://matrix.example.org",
    )
    backoff_at: Annotated[Int, workers(10)] = setting(
        10,
        "Calls that have to fail in a row until the homeserver is left alone for a"
        " while; 0 or less takes 10.",
        20,
    )
    admin_api_kind: AdminApiKind = setting(
        "matrix",
        "Which admin API the homeserver has: `synapse`, `dendrite` or `matrix` (none).",
        "synapse",
    )
    signing_key_path: Text = setting(
        "",
        "Signing key of this homeserver, for fetching media from others. Relative to"
        " the working directory. Empty: requests to other servers are not signed, and"
        " most of them will refuse.",
        "/etc/mmr/example.org.key",
    )


class FederationConfig(Section):
    """How others are asked for their media, and proven when they ask for ours."""

    backoff_at: Annotated[Int, workers(20)] = setting(
        20,
        "Requests that have to fail in a row until a server is left alone for a while;"
        " 0 or less takes 20.",
        50,
    )
    ignored_hosts: tuple[LowerServerName, ...] = setting(
        (),
        "Servers whose media is never served. What is stored stays; repository admins"
        " still see it.",
        ["spam.example"],
    )
    exempt_networks: tuple[Exemption, ...] = setting(
        (),
        "Private networks in which federation may reach other servers. All of them are"
        " refused otherwise.",
        ["10.1.2.0/24"],
    )
    ca_file: FilePath | None = setting(
        None,
        "Certificates (PEM) trusted for federation beside the system's, for closed"
        " federations. Relative to the folder of this file.",
        "/etc/mmr/our-ca.pem",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    notaries: tuple[LowerServerName, ...] = setting(
        ("matrix.org",),
        "Servers that are asked, in this order, for the signing keys of servers that"
        " don't answer themselves. Empty: only the servers themselves are asked.",
        ["matrix.org", "notary.example"],
    )
    refused_keys: tuple[PublicKey, ...] = setting(
        (),
        "Public keys of other servers that prove nothing, because their private halves"
        " are known or can be guessed.",
        ["XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"],
    )
    require_destination: Flag = setting(
        False,
        "Refuse requests whose signature doesn't say which server it is for. Only"
        " servers older than 2022 leave it out.",
        True,
    )
