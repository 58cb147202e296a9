"""URLs found in pages (R27)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.previews.urls import MAX_URL_LENGTH, http_url

BASE = "https://a.example/dir/page?q=1"


@pytest.mark.parametrize(
    ("found", "url"),
    [
        ("i.png", "https://a.example/dir/i.png"),
        ("/i.png", "https://a.example/i.png"),
        ("//b.example/i.png", "https://b.example/i.png"),
        ("http://b.example", "http://b.example"),
        (" \n https://b.example/x \t", "https://b.example/x"),
        ("?p=2#top", "https://a.example/dir/page?p=2"),
        ("/my photo é.png?a=ü", "https://a.example/my%20photo%20%C3%A9.png?a=%C3%BC"),
        ("/a%20b", "https://a.example/a%20b"),
        ("https:///path", "https://a.example/path"),
        ("https://münchen.example/", "https://münchen.example/"),
    ],
)
def test_an_address_is_made_absolute(found: str, url: str) -> None:
    assert http_url(found, BASE) == url


@pytest.mark.parametrize(
    "found",
    [
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "ftp://a.example/",
        "mxc://a.example/b",
        "blob:https://a.example/x",
        "http://",
        "http://user:secret@b.example/",
        "http://b.example\u202e/",
        "http://b exa.mple/",
        "http://[::1",
        "/" + "x" * MAX_URL_LENGTH,
        "/" + "é" * 1000,
    ],
)
def test_anything_but_http_is_left_out(found: str) -> None:
    """R27."""
    assert http_url(found, BASE) is None


@given(st.text())
def test_whatever_is_found_gives_a_short_http_url_or_none(found: str) -> None:
    url = http_url(found, BASE)

    assert url is None or url.startswith(("http://", "https://"))
    assert url is None or len(url) <= MAX_URL_LENGTH
