"""Reads what a server publishes as its keys (spec "Publishing Keys", R52)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from mmr.crypto.keys import ALGORITHM, PUBLIC_KEY_BYTES, VerifyKey, decode_base64
from mmr.crypto.signing import (
    BadJson,
    BadSignature,
    check_signature,
    signatures_by,
    signed_part,
)

# Servers have one, or a few while they change it. Each costs a signature check.
_MAX_KEYS = 32
# Wider than the specification, as servers are; but fit for the log.
_KEY_ID = re.compile(rf"{ALGORITHM}:[!-~]{{1,128}}\Z")


class BadKeyDocument(ValueError):
    """The document proves nothing about the server's keys."""


@attrs.frozen(slots=True)
class ServerKeys:
    """The keys that a server signs requests with.

    Attributes:
        keys: By key id.
        valid_until_ms: Until when the server answers for them (Unix time).
    """

    keys: Mapping[str, VerifyKey]
    valid_until_ms: int


def read_key_document(
    document: Mapping[str, Any], server_name: str, refused: Collection[str] = ()
) -> ServerKeys:
    """Check a document and give the keys in it. It may have expired.

    Every usable key that it lists has to have signed it: nobody slips in a key beside
    that of the server. Keys of other kinds or lengths are left out, and signatures by
    others (notaries) are not looked at.

    Args:
        document: From `mmr.crypto.signing.parse_json`.
        server_name: Whose it has to be.
        refused: Public keys (base64 without padding) that are known to be in the wrong
            hands (R56).

    Raises:
        BadKeyDocument: it is another server's, malformed, or not signed by each key.
    """
    if document.get("server_name") != server_name:
        raise BadKeyDocument("it is the document of another server")
    valid_until = document.get("valid_until_ts")
    if not isinstance(valid_until, int) or isinstance(valid_until, bool):
        raise BadKeyDocument("it has no valid_until_ts")
    keys = {key.key_id: key for key in _usable_keys(document.get("verify_keys"))}
    _check_signatures(document, server_name, keys)
    trusted = {name: key for name, key in keys.items() if key.text not in refused}
    if not trusted:
        raise BadKeyDocument("it has no usable key")
    return ServerKeys(trusted, valid_until)


def _usable_keys(listed: object) -> Iterator[VerifyKey]:
    if not isinstance(listed, dict):
        raise BadKeyDocument("it has no verify_keys")
    if len(listed) > _MAX_KEYS:
        raise BadKeyDocument(f"it has more than {_MAX_KEYS} keys")
    for key_id, entry in listed.items():
        text = entry.get("key") if isinstance(entry, dict) else None
        if not isinstance(text, str) or _KEY_ID.match(key_id) is None:
            continue
        try:
            public = decode_base64(text)
        except ValueError:
            continue
        if len(public) == PUBLIC_KEY_BYTES:
            yield VerifyKey(key_id, public)


def _check_signatures(
    document: Mapping[str, Any], server_name: str, keys: Mapping[str, VerifyKey]
) -> None:
    signatures = signatures_by(document, server_name)
    try:
        message = signed_part(document)
        for key in keys.values():
            check_signature(message, signatures, key)
    except (BadJson, BadSignature) as e:
        raise BadKeyDocument(str(e)) from e
