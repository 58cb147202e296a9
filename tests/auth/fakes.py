"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import attrs
import yaml

from mmr.config import Config, DomainConfig, load_config
from mmr.types import ANONYMOUS, Requester

HOST = "a.example"
OTHER_HOST = "b.example"
ANN = "@ann:a.example"
ADMIN = "@root:a.example"
GUEST = "@guest:a.example"
SECRET = "a-shared-secret-of-some-length"
AS_TOKEN = "an-appservice-token-of-some-length"
BOT = "@bridge:a.example"


def make_config(folder: Path, cs_api: str, **sections: Any) -> Config:
    """A configuration of two homeservers at one address."""
    access_tokens = {
        "maxCacheTimeSeconds": 60,
        "useLocalAppserviceConfig": True,
        "appservices": [
            {
                "id": "bridge",
                "asToken": AS_TOKEN,
                "senderUserId": BOT,
                "userNamespaces": [{"regex": "@bridge_.*"}],
            }
        ],
    }
    settings = {
        "repo": {"logDirectory": "-"},
        "homeservers": [
            {"name": name, "csApi": cs_api, "backoffAt": 3, "adminApiKind": "synapse"}
            for name in (HOST, OTHER_HOST)
        ],
        "admins": [ADMIN],
        "sharedSecretAuth": {"enabled": True, "token": SECRET},
        "accessTokens": {**access_tokens, **sections.pop("accessTokens", {})},
        "timeouts": {"clientServerTimeoutSeconds": 5},
        "datastores": [
            {
                "type": "file",
                "id": "main",
                "forKinds": ["all"],
                "opts": {"path": str(folder)},
            }
        ],
        **sections,
    }
    file = folder / "mmr.yaml"
    file.write_text(yaml.safe_dump(settings))
    file.chmod(0o600)
    return load_config([file])


@attrs.frozen
class FakeHead:
    headers: Mapping[bytes, Sequence[bytes]]


@attrs.frozen
class FakeQuery:
    raw: str

    def texts(self, name: str) -> list[str]:
        return parse_qs(self.raw, keep_blank_values=True).get(name, [])


@attrs.define
class FakeRequest:
    """The part of a request that auth looks at."""

    domain: DomainConfig
    head: FakeHead
    query: FakeQuery
    client_address: str = "192.0.2.7"
    requester: Requester = ANONYMOUS


def request_for(
    domain: DomainConfig,
    token: str | None = None,
    *,
    query: str = "",
    headers: Sequence[str] | None = None,
    requester: Requester = ANONYMOUS,
) -> FakeRequest:
    """A request with a bearer token, or with whatever headers and query."""
    values = [f"Bearer {token}"] if token is not None else headers
    head = {} if values is None else {b"authorization": [v.encode() for v in values]}
    return FakeRequest(domain, FakeHead(head), FakeQuery(query), requester=requester)
