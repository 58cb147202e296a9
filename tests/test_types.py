"""Ids and names, over the whole of a text (R70)."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.types import (
    Mxc,
    is_valid_media_id,
    is_valid_server_name,
    server_of_user,
    split_server_name,
)

ODD = (
    "",
    ".",
    "..",
    "a/../b",
    "%2e%2e",
    "%2f",
    "%00",
    "a\0",
    "a\n",
    "a\r\n",
    "a b",
    "a\\b",
    "\u0430",
    "\uff41",
    "\udcc0\udcaf",
    "a?b",
    "a#b",
)
_IDS = "abcXYZ019-_"
# The specification's grammar, "Server name", one alternative after the other.
_DNS_NAME = re.compile(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?", re.ASCII)


@pytest.mark.parametrize("text", ODD)
def test_what_could_lead_elsewhere_is_no_id_and_no_name(text: str) -> None:
    """R70, D33."""
    assert not is_valid_media_id(text)
    assert server_of_user(f"@a:{text}") is None
    if text not in (".", ".."):
        assert not is_valid_server_name(text)
    for uri in (f"mxc://example.org/{text}", f"mxc://{text}/", f"mxc://{text}/a/b"):
        with pytest.raises(ValueError, match="MXC"):
            Mxc.parse(uri)


@given(st.one_of(st.text(max_size=300), st.text(_IDS, max_size=300)))
def test_media_ids_are_what_the_grammar_says(text: str) -> None:
    """R70."""
    expected = 1 <= len(text) <= 255 and set(text) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )
    assert is_valid_media_id(text) == expected


@given(st.one_of(st.text(max_size=60), st.text("aZ09.-:[]", max_size=60)))
def test_server_names_are_what_the_grammar_says(text: str) -> None:
    """R70: nothing but a DNS name, an address, and perhaps a port."""
    if not is_valid_server_name(text):
        return
    host, port = split_server_name(text) or ("", None)
    if host.startswith("["):
        assert ipaddress.IPv6Address(host[1:-1])
    else:
        assert _DNS_NAME.fullmatch(text)
    assert text == host if port is None else 0 <= port <= 65535


@pytest.mark.parametrize(
    "name",
    [
        "example.org",
        "EXAMPLE.org:8448",
        "localhost",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
    ],
)
def test_the_specifications_examples_are_server_names(name: str) -> None:
    assert is_valid_server_name(name)
    assert server_of_user(f"@alice:{name}") == name
    assert str(Mxc.parse(f"mxc://{name}/abc")) == f"mxc://{name}/abc"


@pytest.mark.parametrize(
    "name",
    [
        "1.2.3.256",
        "[::1",
        "[1.2.3.4]",
        "[::1%eth0]",
        "a:65536",
        "a:+1",
        "a:\uff11",
        "a:",
        "a" * 231,
    ],
)
def test_these_are_none(name: str) -> None:
    assert not is_valid_server_name(name)
