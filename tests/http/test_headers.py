"""Types and names from strangers, as they are sent (R3, R4, R72)."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.http.headers import (
    clean_content_type,
    clean_file_name,
    describe_media,
    file_name_parameters,
)

INLINE = (
    "text/css text/plain text/csv application/json application/ld+json image/jpeg "
    "image/gif image/png image/apng image/webp image/avif video/mp4 video/webm "
    "video/ogg video/quicktime audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg "
    "audio/wave audio/wav audio/x-wav audio/x-pn-wav audio/flac audio/x-flac"
).split()
NEVER_INLINE = (
    "text/html application/xhtml+xml image/svg+xml text/xml text/javascript "
    "application/pdf application/octet-stream"
).split()


@pytest.mark.parametrize(
    ("claimed", "sent"),
    [
        ("image/png", "image/png"),
        ("Image/PNG", "image/png"),
        ("img/png", "img/png"),
        ("text/plain; charset=UTF-8", "text/plain; charset=UTF-8"),
        ("text/plain ;Charset=utf-8 ; a=b", "text/plain; a=b; charset=utf-8"),
        ("image/png; charset=utf-8", "image/png"),
        ('text/plain; x="a; b"', 'text/plain; x="a; b"'),
        ("text/plain; a=1; a=2", "text/plain; a=1"),
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("png", "application/octet-stream"),
        ("text/plain;", "application/octet-stream"),
        ("text/plain, text/html", "application/octet-stream"),
        ("text/plain text/html", "application/octet-stream"),
        ("text/plain; text/html", "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("text/plain\n", "application/octet-stream"),
        ("text/plain\0", "application/octet-stream"),
        ("text/plän", "application/octet-stream"),
        ("text/" + "a" * 251, "application/octet-stream"),
        ("a/" + "b" * 10_000, "application/octet-stream"),
    ],
)
def test_content_types_are_cleaned(claimed: str | None, sent: str) -> None:
    """R4."""
    assert clean_content_type(claimed) == sent


@pytest.mark.parametrize("bare", INLINE + NEVER_INLINE)
def test_only_listed_types_are_inline(bare: str) -> None:
    """R3, spec 4.3."""
    expected = "inline" if bare in INLINE else "attachment"
    for claimed in (bare, bare.upper(), f" {bare} ; x=y"):
        assert describe_media(claimed, "evil.html")[1].split(";")[0] == expected
    assert describe_media(bare, None, True)[1] == "attachment"


@given(
    st.one_of(
        st.text(max_size=60),
        st.builds(
            "".join,
            st.lists(
                st.sampled_from([*INLINE, *NEVER_INLINE, ";", ",", " ", "=", "x"])
            ),
        ),
    )
)
def test_inline_implies_that_the_sent_type_is_listed(claimed: str) -> None:
    """R3: whatever was claimed, with odd case, parameters, duplicates."""
    sent, disposition = describe_media(claimed, None)
    assert re.fullmatch(r"[\t -~]{3,255}", sent)
    if disposition == "inline":
        assert sent.partition(";")[0] in INLINE


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("", ""),
        (".", ""),
        ("..", ""),
        ("cat.png", "; filename=cat.png"),
        ("my cat.png", '; filename="my cat.png"'),
        ("../../etc/passwd", "; filename=passwd"),
        ("C:\\dir\\cat.png", "; filename=cat.png"),
        ("a\r\nX: y", '; filename="aX: y"'),
        ("a;b", '; filename="a;b"'),
        ("photo\u202egpj.exe", "; filename=photogpj.exe"),
        ('say "hi"', "; filename=\"say _hi_\"; filename*=utf-8''say%20%22hi%22"),
        ("100%.txt", "; filename=\"100_.txt\"; filename*=utf-8''100%25.txt"),
        (
            "ä'(*).txt",
            "; filename=\"_'(*).txt\"; filename*=utf-8''%C3%A4%27%28%2A%29.txt",
        ),
    ],
)
def test_file_names(name: str, parameters: str) -> None:
    """R72, D17, D18."""
    assert file_name_parameters(name) == parameters


def test_long_names_keep_their_extension() -> None:
    """R72."""
    cleaned = clean_file_name("ä" * 10_000 + ".tar")
    assert len(cleaned.encode()) <= 255
    assert cleaned.endswith("ä.tar")
    assert len(clean_file_name("x." + "y" * 10_000).encode()) == 255


@given(st.text(max_size=300))
def test_a_conforming_parser_reads_the_cleaned_name(name: str) -> None:
    """R72."""
    header = describe_media("image/png", name)[1]
    assert re.fullmatch(r"[ -~]+", header)
    found = _read_file_name(header)
    assert found == (clean_file_name(name) or None)


def _read_file_name(header: str) -> str | None:
    """Read a name by RFC 6266: ``filename*`` wins, escapes are undone."""
    extended = re.search(r"; filename\*=utf-8''([A-Za-z0-9!#$&+.^_`|~%-]*)\Z", header)
    if extended:
        return unquote(extended[1], errors="strict")
    quoted = re.search(r'; filename="((?:[^"\\]|\\.)*)"\Z', header)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    bare = re.search(r"; filename=([!#$%&'*+.^_`|~0-9A-Za-z-]+)\Z", header)
    return bare[1] if bare else None
