"""Key files of the three servers, as they are and byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.crypto.key_files import read_signing_keys, readable_by_others
from mmr.crypto.key_formats import BadKeyFile, KeyFormat, decode_keys, encode_keys
from mmr.crypto.keys import SigningKey
from mmr.errors import ConfigError

from tests.crypto.vectors import (
    D1,
    D2,
    DENDRITE,
    DENDRITE_2,
    M1,
    M2,
    MMR,
    MMR_2,
    PUBLIC_KEYS,
    S1,
    S2,
    SYNAPSE,
    SYNAPSE_2,
)

FILES = [
    (KeyFormat.DENDRITE, D1, (DENDRITE,)),
    (KeyFormat.MMR, M1, (MMR,)),
    (KeyFormat.SYNAPSE, S1, (SYNAPSE,)),
    (KeyFormat.DENDRITE, D1 + D2, (DENDRITE, DENDRITE_2)),
    (KeyFormat.MMR, M1 + M2, (MMR, MMR_2)),
    (KeyFormat.SYNAPSE, f"{S1}\n{S2}", (SYNAPSE, SYNAPSE_2)),
]


@pytest.mark.parametrize(("kind", "text", "keys"), FILES)
def test_files_are_recognised_and_written_again_as_they_were(
    kind: KeyFormat, text: str, keys: tuple[SigningKey, ...]
) -> None:
    assert decode_keys(text) == (kind, keys)
    assert encode_keys(keys, kind) == text


@pytest.mark.parametrize(("kind", "text", "keys"), FILES)
@pytest.mark.parametrize("other", KeyFormat)
def test_keys_survive_every_other_format(
    kind: KeyFormat, text: str, keys: tuple[SigningKey, ...], other: KeyFormat
) -> None:
    assert decode_keys(encode_keys(keys, other)) == (other, keys)


@pytest.mark.parametrize(("key", "public"), PUBLIC_KEYS.items())
def test_public_key_follows_from_the_seed(key: SigningKey, public: str) -> None:
    assert key.verify_key.text == public


@given(
    st.lists(
        st.builds(
            SigningKey,
            st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
            st.binary(min_size=32, max_size=32),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(KeyFormat),
)
def test_any_keys_round_trip(keys: list[SigningKey], kind: KeyFormat) -> None:
    assert decode_keys(encode_keys(keys, kind)) == (kind, tuple(keys))


@given(st.text())
def test_any_other_text_is_no_key_file(text: str) -> None:
    with pytest.raises(BadKeyFile):
        decode_keys(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"\n{S1}\n\n", SYNAPSE),
        (S1 + "\r\n", SYNAPSE),
        (S1 + "=\n", SYNAPSE),
        (f"# of the old server\n{M1}\n\n", MMR),
        (M1.replace("\n", "\r\n"), MMR),
        (M1.replace("MMR P", "OTHER P") + M2, MMR_2),
        (M1 + D1, DENDRITE),
    ],
)
def test_harmless_differences_are_accepted(text: str, key: SigningKey) -> None:
    assert decode_keys(text)[1] == (key,)


def test_only_32_bytes_of_a_longer_seed_count() -> None:
    text = "ed25519 1 " + "A" * 86
    assert decode_keys(text)[1] == (SigningKey("1", bytes(32)),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        (f"{S1}\ned25519 b", "line 2 has 2 words in place of 3"),
        (f"{S1} more", "line 1 has 4 words"),
        (f"\n{S1.replace('ed25519', 'rsa')}", "line 2 doesn't begin with ed25519"),
        ("ed25519 a_b ???", "a key that isn't base64"),
        ('ed25519 a" AAAA', "no usable key version"),
        ("ed25519 a_b " + "A" * 42, "a key of 31 bytes in place of 32"),
        (M1.replace("Version: 1", "Version: 2"), "isn't of Version: 1"),
        (M1.replace("Version: 1\n", ""), "isn't of Version: 1"),
        (M1.replace("Key-ID", "Key"), "no Key-ID"),
        (M1.replace("ed25519:e5d0oC", "rsa:x"), "no Key-ID: ed25519"),
        (M1.replace("\n\n", "\n"), "no empty line"),
        (D1.replace("2he2s=", "2h="), "a key of"),
        (D1 + "trailing", "line 6 doesn't begin a whole PEM block"),
        (M1[:-10], "line 1 doesn't begin a whole PEM block"),
        (M1.replace("MMR PRIVATE", "RSA PRIVATE"), "it has RSA PRIVATE KEY in place"),
    ],
)
def test_malformed_files_tell_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(BadKeyFile, match=told) as caught:
        decode_keys(text)
    assert "PJt0Oa" not in str(caught.value)


def test_first_key_of_a_file_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    file.write_text(f"{S2}\n{S1}\n")
    assert read_signing_keys(file) == (SYNAPSE_2, SYNAPSE)


def test_errors_name_the_file_the_setting_and_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    cases = {b"": "it is empty", b"\xff\xfe": "it is no text", b"x" * 70000: "longer"}
    for data, told in cases.items():
        file.write_bytes(data)
        with pytest.raises(ConfigError) as caught:
            read_signing_keys(file)
        assert str(file) in str(caught.value)
        assert "signingKeyPath" in str(caught.value)
        assert told in str(caught.value)
        assert "Expected is a signing key" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError, match="can't be read") as caught:
            read_signing_keys(path)
        assert str(path) in str(caught.value)


def test_a_key_that_anybody_may_read_is_warned_of(tmp_path: Path) -> None:
    """R104."""
    file = tmp_path / "signing.key"
    file.write_text(S1)
    file.chmod(0o644)
    warning = readable_by_others(file)
    assert warning is not None
    assert str(file) in warning
    assert "0644" in warning
    file.chmod(0o600)
    assert readable_by_others(file) is None
    assert readable_by_others(tmp_path / "missing") is None


def test_keys_are_not_shown() -> None:
    assert "seed" not in repr(MMR)
