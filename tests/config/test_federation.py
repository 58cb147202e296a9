"""The settings of ``federation``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import load, refused

KEY = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"


def test_defaults_ask_one_notary_and_accept_old_servers(tmp_path: Path) -> None:
    federation = load(tmp_path, "").federation
    assert federation.notaries == ("matrix.org",)
    assert federation.refused_keys == ()
    assert not federation.require_destination


def test_notaries_are_asked_in_their_order(tmp_path: Path) -> None:
    config = load(tmp_path, "federation: {notaries: [N.example, a.example:8448]}")
    assert config.federation.notaries == ("n.example", "a.example:8448")
    assert load(tmp_path, "federation: {notaries: []}").federation.notaries == ()


def test_refused_keys_lose_their_padding(tmp_path: Path) -> None:
    """R56."""
    config = load(tmp_path, f"federation: {{refusedKeys: ['{KEY}', '{KEY}=']}}")
    assert config.federation.refused_keys == (KEY, KEY)


@pytest.mark.parametrize("key", ["", "short", f"ed25519 {KEY}", KEY[:-1] + "J"])
def test_refused_keys_are_public_keys(tmp_path: Path, key: str) -> None:
    """R56: a key with a slip would be accepted from servers."""
    told = refused(tmp_path, f"federation: {{refusedKeys: ['{key}']}}")
    assert "expected a public key: 43 characters of base64" in told
