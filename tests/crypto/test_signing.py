"""Canonical JSON and signatures in it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.crypto.keys import SigningKey, decode_base64, encode_base64
from mmr.crypto.signing import (
    BadJson,
    BadSignature,
    canonical_json,
    parse_json,
    sign_json,
    signed_part,
    verify_json,
)

from tests.crypto.vectors import MMR, SERVER_KEYS, SPECIFICATION, SPECIFIED

PROFILE = {
    "auth": {
        "success": True,
        "mxid": "@john.doe:example.com",
        "profile": {
            "display_name": "John Doe",
            "three_pids": [
                {"medium": "email", "address": "john.doe@example.org"},
                {"medium": "msisdn", "address": "123456789"},
            ],
        },
    }
}


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        (
            PROFILE,
            '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":'
            '"John Doe","three_pids":[{"address":"john.doe@example.org","medium":'
            '"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
        ),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": "\u65e5"}, '{"a":"日"}'),
        ({"a": None}, '{"a":null}'),
        ({"a": "<>&\u2028\u2029\b\f"}, '{"a":"<>&\u2028\u2029\\b\\f"}'),
        ({"a": "\\u003c"}, '{"a":"\\\\u003c"}'),
        ({"a": 2**53 - 1, "b": -(2**53) + 1}, None),
    ],
)
def test_canonical_form_is_the_specifications(value: Any, encoded: str | None) -> None:
    if encoded is not None:
        assert canonical_json(value) == encoded.encode()
    assert parse_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"x":{"a":1,"\\u0061":2}}',
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":-0}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":9007199254740992}',
        '{"a":[-9007199254740992]}',
        '{"a":' + "9" * 5000 + "}",
        "[" * 100_000,
        "[]",
        "1",
        "",
        '{"a":1} {}',
        '\ufeff{"a":1}',
    ],
)
def test_json_with_two_readings_is_refused(text: str) -> None:
    """R56."""
    with pytest.raises(BadJson):
        parse_json(text.encode())


def test_json_is_utf8() -> None:
    for encoding in ("utf-16", "utf-32", "latin-1"):
        with pytest.raises(BadJson):
            parse_json('{"a":"é"}'.encode(encoding))


@pytest.mark.parametrize(
    "value", [{"a": 0.5}, {1: "a"}, {"a": 2**53}, {"a": b""}, {"a": "\ud800"}]
)
def test_what_has_no_canonical_form_is_not_signed(value: Any) -> None:
    """R56."""
    with pytest.raises(BadJson):
        canonical_json(value)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except BadJson:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(("value", "signature"), SPECIFIED)
def test_the_specifications_signatures(value: dict[str, Any], signature: str) -> None:
    signed = sign_json(value, "domain", SPECIFICATION)
    assert signed["signatures"] == {"domain": {"ed25519:1": signature}}
    verify_json(signed, "domain", SPECIFICATION.verify_key)


@pytest.mark.parametrize(("key", "valid_until", "digest", "signature"), SERVER_KEYS)
def test_signed_server_keys(
    key: SigningKey, valid_until: int, digest: str, signature: str
) -> None:
    value = {
        "old_verify_keys": {},
        "server_name": "localhost",
        "valid_until_ts": valid_until,
        "verify_keys": {key.key_id: {"key": key.verify_key.text}},
    }
    assert hashlib.sha256(signed_part(value)).hexdigest() == digest
    assert encode_base64(key.sign(canonical_json(value))) == signature


def test_signatures_of_others_and_unsigned_parts_stay() -> None:
    value = {"a": 1, "unsigned": {"age": 1}, "signatures": {"b.example": {"k": "s"}}}
    signed = sign_json(value, "a.example", MMR)
    assert signed["signatures"]["b.example"] == {"k": "s"}
    verify_json({**signed, "unsigned": {}}, "a.example", MMR.verify_key)


@pytest.mark.parametrize("signature", [None, 1, "", "?", "AAAA", "A" * 86])
def test_missing_and_malformed_signatures_are_refused(signature: object) -> None:
    value = {"signatures": {"a.example": {MMR.key_id: signature}}}
    with pytest.raises(BadSignature):
        verify_json(value, "a.example", MMR.verify_key)


@pytest.mark.parametrize("signatures", [None, [], {"a.example": 1}, {}])
def test_malformed_lists_of_signatures_are_refused(signatures: object) -> None:
    with pytest.raises(BadSignature):
        verify_json({"signatures": signatures}, "a.example", MMR.verify_key)


def test_a_changed_object_is_refused() -> None:
    signed = sign_json({"a": 1}, "a.example", MMR)
    with pytest.raises(BadSignature):
        verify_json({**signed, "a": 2}, "a.example", MMR.verify_key)


@given(st.binary(max_size=100), st.integers(0, 2))
def test_base64_may_be_padded_and_nothing_else(data: bytes, padding: int) -> None:
    text = encode_base64(data)
    assert decode_base64(text) == data
    assert decode_base64(text + "=" * (-len(text) % 4)) == data
    for bad in (text + "===", f" {text}", f"{text}\n", f"{text}-_", "A"):
        with pytest.raises(ValueError, match=r"base64|padding"):
            decode_base64(bad)
