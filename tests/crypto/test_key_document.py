"""What a key document proves (R52)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmr.crypto.key_document import BadKeyDocument, read_key_document
from mmr.crypto.keys import SigningKey
from mmr.crypto.signing import sign_json

from tests.crypto.documents import document
from tests.crypto.vectors import ACCEPTED, INJECTED, MMR, MMR_2, RESOLVEMATRIX

HOST = "a.example"


def with_keys(**more: Any) -> dict[str, Any]:
    """A document that lists more keys than those that sign it."""
    listed = {MMR.key_id: {"key": MMR.verify_key.text}, **more}
    return sign_json(document(HOST, verify_keys=listed), HOST, MMR)


def test_a_published_document_gives_its_key() -> None:
    keys = read_key_document(ACCEPTED, RESOLVEMATRIX)
    assert list(keys.keys) == ["ed25519:AY4k3ADlto8"]
    assert keys.valid_until_ms == 1701057124839


def test_a_key_slipped_in_is_refused() -> None:
    with pytest.raises(BadKeyDocument, match=r"ed25519:AY4k3ADlto8 is missing"):
        read_key_document(INJECTED, RESOLVEMATRIX)


def test_a_listed_key_that_has_not_signed_is_refused() -> None:
    with pytest.raises(BadKeyDocument, match="missing"):
        read_key_document(
            with_keys(**{MMR_2.key_id: {"key": MMR_2.verify_key.text}}), HOST
        )


def test_several_keys_that_signed_all_count() -> None:
    keys = read_key_document(document(HOST, MMR, MMR_2), HOST)
    assert set(keys.keys) == {MMR.key_id, MMR_2.key_id}


def test_signatures_of_notaries_are_no_matter() -> None:
    value = sign_json(document(HOST, MMR), "notary.example", MMR_2)
    assert set(read_key_document(value, HOST).keys) == {MMR.key_id}


@pytest.mark.parametrize(
    "entry",
    [{"key": "A" * 42}, {"key": "A" * 44}, {"key": "?"}, {"key": 1}, {}, 1, None],
)
def test_keys_of_wrong_length_or_kind_are_left_out(entry: Any) -> None:
    """R52."""
    good = {"key": MMR_2.verify_key.text}
    value = with_keys(
        **{"ed25519:bad": entry, "rsa:1": good, "ed25519:": good, "ed25519:a\n": good}
    )
    assert set(read_key_document(value, HOST).keys) == {MMR.key_id}


def test_known_bad_keys_are_refused() -> None:
    """R56."""
    with pytest.raises(BadKeyDocument, match="no usable key"):
        read_key_document(document(HOST, MMR), HOST, {MMR.verify_key.text})
    keys = read_key_document(document(HOST, MMR, MMR_2), HOST, {MMR.verify_key.text})
    assert set(keys.keys) == {MMR_2.key_id}


@pytest.mark.parametrize(
    "changed",
    [
        {"server_name": "b.example"},
        {"valid_until_ts": 5},
        {"valid_until_ts": "5"},
        {"valid_until_ts": True},
        {"valid_until_ts": None},
        {"signatures": {}},
        {"signatures": {"b.example": {MMR.key_id: "A" * 86}}},
        {"signatures": {HOST: {MMR.key_id: "A" * 86}}},
        {"verify_keys": None},
        {"verify_keys": []},
        {"verify_keys": {}},
        {"more": 1},
        {"more": 0.5},
    ],
)
def test_documents_that_prove_nothing(changed: dict[str, Any]) -> None:
    """R52."""
    with pytest.raises(BadKeyDocument):
        read_key_document({**document(HOST, MMR), **changed}, HOST)


def test_old_keys_sign_no_requests() -> None:
    """R52."""
    old = {MMR.key_id: {"key": MMR.verify_key.text, "expired_ts": 1}}
    value = sign_json(document(HOST, old_verify_keys=old), HOST, MMR)
    with pytest.raises(BadKeyDocument, match="no usable key"):
        read_key_document(value, HOST)


def test_a_document_of_very_many_keys_is_refused() -> None:
    many = [SigningKey(f"k{number}", bytes([number] * 32)) for number in range(33)]
    assert len(read_key_document(document(HOST, *many[:32]), HOST).keys) == 32
    with pytest.raises(BadKeyDocument, match="more than 32"):
        read_key_document(document(HOST, *many), HOST)


def test_the_document_may_come_through_json() -> None:
    value = json.loads(json.dumps(document(HOST, MMR, server="é")))
    assert set(read_key_document(value, HOST).keys) == {MMR.key_id}
