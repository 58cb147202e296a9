"""Strict canonical JSON, and signatures in it (spec "Signing JSON", R56).

What is signed must have one reading only: no repeated keys, no floats, no integers
that some languages round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from canonicaljson import encode_canonical_json

from mmr.crypto.keys import SigningKey, VerifyKey, decode_base64, encode_base64

_LARGEST = 2**53 - 1


class BadJson(ValueError):
    """It is no JSON, or none that may be signed."""


class BadSignature(ValueError):
    """A signature is missing or wrong."""


def parse_json(data: bytes) -> dict[str, Any]:
    """Read a JSON object that is signed.

    Raises:
        BadJson: it is none, or could be read in two ways.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_int=_whole_number
        )
    except (ValueError, RecursionError) as e:
        raise BadJson("it is no JSON that may be signed") from e
    if not isinstance(value, dict):
        raise BadJson("it is no JSON object")
    _check(value)
    return value


def canonical_json(value: object) -> bytes:
    """The one encoding of a value that signatures are made of.

    Raises:
        BadJson: the value has none.
    """
    _check(value)
    try:
        encoded: bytes = encode_canonical_json(value)
    except (ValueError, RecursionError) as e:
        raise BadJson("it can't be written as canonical JSON") from e
    return encoded


def signed_part(value: Mapping[str, Any]) -> bytes:
    """What a signature of this object covers."""
    return canonical_json(
        {k: v for k, v in value.items() if k not in {"signatures", "unsigned"}}
    )


def sign_json(
    value: Mapping[str, Any], server_name: str, key: SigningKey
) -> dict[str, Any]:
    """A copy of the object with our signature added to those that it has."""
    signature = encode_base64(key.sign(signed_part(value)))
    signatures = dict(value.get("signatures", {}))
    signatures[server_name] = {**signatures.get(server_name, {}), key.key_id: signature}
    return {**value, "signatures": signatures}


def verify_json(value: Mapping[str, Any], server_name: str, key: VerifyKey) -> None:
    """Check the server's signature by that key.

    Raises:
        BadSignature: it is missing or wrong.
        BadJson: the object has no canonical form.
    """
    check_signature(signed_part(value), signatures_by(value, server_name), key)


def signatures_by(value: Mapping[str, Any], server_name: str) -> Mapping[str, Any]:
    """The signatures of a server on an object, by key id; not checked."""
    signatures = value.get("signatures")
    own = signatures.get(server_name) if isinstance(signatures, dict) else None
    return own if isinstance(own, dict) else {}


def check_signature(
    message: bytes, signatures: Mapping[str, Any], key: VerifyKey
) -> None:
    """Check the signature by that key among those of one server.

    Raises:
        BadSignature: it is missing or wrong.
    """
    signature = signatures.get(key.key_id)
    if not isinstance(signature, str):
        raise BadSignature(f"the signature by the key {key.key_id} is missing")
    try:
        is_good = key.is_signed(message, decode_base64(signature))
    except ValueError:
        is_good = False
    if not is_good:
        raise BadSignature(f"the signature by the key {key.key_id} is wrong")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJson("a key is repeated")
    return value


def _whole_number(text: str) -> int:
    if text == "-0":
        raise BadJson("-0 is no canonical number")
    return int(text)


def _check(value: object) -> None:
    """Refuse what JSON parsers read differently."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise BadJson("a key is no text")
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int):
            if not -_LARGEST <= one <= _LARGEST:
                raise BadJson("an integer is outside ±(2⁵³−1)")
        elif one is not None and not isinstance(one, str):
            raise BadJson(f"{type(one).__name__} has no canonical form")
