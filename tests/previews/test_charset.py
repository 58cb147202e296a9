"""Encodings of pages (R26)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.previews.charset import decode
from mmr.previews.labels import codec_for_label

RUSSIAN = "Съешь же ещё этих мягких французских булок"
JAPANESE = "いろはにほへと、ちりぬるを"
TABLE = [
    ("windows-1252", "cp1252", "Ça coûte 5 €, naïf"),
    ("iso-8859-1", "cp1252", "smart “quotes” all the same"),
    ("iso-8859-2", "iso8859-2", "Příliš žluťoučký kůň"),
    ("windows-1250", "cp1250", "Zażółć gęślą jaźń"),
    ("windows-1251", "cp1251", RUSSIAN),
    ("koi8-r", "koi8-r", RUSSIAN),
    ("ibm866", "cp866", RUSSIAN),
    ("iso-8859-7", "iso8859-7", "Ξεσκεπάζω την ψυχοφθόρα"),
    ("windows-1254", "cp1254", "Pijamalı hasta yağız şoföre"),
    ("windows-1255", "cp1255", "דג סקרן שט בים"),
    ("windows-1256", "cp1256", "نص حكيم له سر قاطع"),
    ("windows-874", "cp874", "เป็นมนุษย์สุดประเสริฐ"),
    ("shift_jis", "cp932", JAPANESE),
    ("euc-jp", "euc-jp", JAPANESE),
    ("iso-2022-jp", "iso2022-jp", JAPANESE),
    ("gb2312", "gb18030", "视野无限广，窗外有蓝天"),
    ("gb18030", "gb18030", "视野无限广 😀"),
    ("big5", "big5hkscs", "視野無限廣"),
    ("euc-kr", "cp949", "키스의 고유조건은"),
    ("macintosh", "mac-roman", "Élan vital"),
    ("utf-8", "utf-8", "Σ 日 😀"),
]


@pytest.mark.parametrize(("label", "codec", "text"), TABLE)
def test_the_header_names_the_encoding(label: str, codec: str, text: str) -> None:
    header = f"text/html; charset={label}"

    assert decode(text.encode(codec), header) == text


@pytest.mark.parametrize(("label", "codec", "text"), TABLE)
@pytest.mark.parametrize(
    "meta",
    [
        "<meta charset={}>",
        "<META CharSet = '{}' />",
        '<meta http-equiv="Content-Type" content="text/html; charset={}">',
        '<?xml version="1.0" encoding="{}"?>',
    ],
)
def test_the_page_names_its_encoding(
    meta: str, label: str, codec: str, text: str
) -> None:
    page = f"<!doctype html>{meta.format(label)}<p>{text}"

    assert decode(page.encode(codec), "text/html") == page


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_goes_first(codec: str) -> None:
    assert decode(RUSSIAN.encode(codec), "text/html; charset=koi8-r") == RUSSIAN


def test_utf_16_without_a_mark_is_named_by_the_header_only() -> None:
    header = "text/html; charset=utf-16be"

    assert decode("<p>é".encode("utf-16-be"), header) == "<p>é"
    assert decode(b"<meta charset=utf-16><p>x", "") == "<meta charset=utf-16><p>x"


@pytest.mark.parametrize(
    "label",
    [
        *("punycode", "idna", "utf-7", "unicode_escape", "rot13", "zip", "hex", "mbcs"),
        *("undefined", "hz-gb-2312", "iso-2022-kr", "replacement", "none", "x" * 900),
    ],
)
def test_only_encodings_of_the_web_are_known(label: str) -> None:
    """R26: the language's own codecs include some that aren't encodings."""
    page = "<p>é +ADw- \\u0041".encode()

    assert codec_for_label(label) is None
    assert decode(page, f"text/html; charset={label}") == page.decode()


def test_utf_8_is_recognised_without_being_named_or_under_a_wrong_name() -> None:
    for header in ("text/html", "text/html; charset=iso-8859-1"):
        assert decode(RUSSIAN.encode(), header) == RUSSIAN


def test_a_few_bad_bytes_or_a_cut_don_t_make_another_encoding() -> None:
    page = (RUSSIAN * 10).encode()

    assert decode(page[:-1], "text/html") == (RUSSIAN * 10)[:-1]
    assert decode(page + b"\xff!", "text/html") == RUSSIAN * 10 + "\ufffd!"


def test_the_language_hints_at_the_encoding() -> None:
    page = f"<html lang='ru-RU'><p>{RUSSIAN}"

    assert decode(page.encode("cp1251"), "text/html") == page
    taiwan = "<html class=x lang=zh-TW><p>視野無限廣"
    assert decode(taiwan.encode("big5hkscs"), "text/html") == taiwan


def test_windows_1252_is_what_is_left() -> None:
    assert decode("déjà vu".encode("cp1252"), "text/html") == "déjà vu"


def test_a_late_declaration_is_not_seen() -> None:
    """R26: 1,024 bytes."""
    page = b"<!--" + b" " * 1024 + b"--><meta charset=koi8-r>\xc1"

    assert decode(page, "text/html").endswith("Á")


def test_bad_bytes_never_fail() -> None:
    """R26."""
    every_byte = bytes(range(256)) * 4
    for label, _, _ in TABLE:
        assert decode(every_byte, f"text/html; charset={label}")


@given(st.binary(), st.text())
def test_any_bytes_under_any_header_are_a_text(data: bytes, header: str) -> None:
    decode(data, header).encode()
