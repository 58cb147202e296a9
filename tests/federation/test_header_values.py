"""File names as other servers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.federation.header_values import file_name, split_parameters
from mmr.http.headers import clean_file_name, describe_media


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, ""),
        ("", ""),
        ("inline", ""),
        ("inline; filename=cat.png", "cat.png"),
        ("attachment;filename=cat.png;x=y", "cat.png"),
        ("attachment; FileName = cat.png ", "cat.png"),
        ('inline; filename="a cat; \\"black\\".png"', 'a cat; "black".png'),
        ("inline; filename*=utf-8''%E7%8C%AB.png", "猫.png"),
        ("inline; filename*=UTF-8'en'%E2%82%AC; filename=euro", "€"),
        ("inline; filename=euro; filename*=UTF-8''%E2%82%AC", "€"),
        ("inline; filename*=iso-8859-1''%A3", "£"),
        ("inline; filename*=utf-8''%ff; filename=fallback", "fallback"),
        ("inline; filename*=klingon''x; filename=fallback", "fallback"),
        ("inline; filename*=broken; filename=fallback", "fallback"),
        ("inline; filename=\xe7\x8c\xab.png", "猫.png"),
        ("inline; filename=caf\xe9.png", "café.png"),
        ("inline; filename=../../etc/passwd", "passwd"),
        ("inline; filename*=utf-8''a%00%0D%0Ab", "ab"),
        ('inline; filename="unfinished', '"unfinished'),
        ("inline; filename=first; filename=second", "first"),
    ],
)
def test_the_file_name(disposition: str | None, name: str) -> None:
    assert file_name(disposition) == name


@given(st.text(max_size=60))
def test_a_name_that_we_send_comes_back(name: str) -> None:
    """What one of our servers says, another one understands."""
    _, disposition = describe_media("image/png", name)
    assert file_name(disposition) == clean_file_name(name)


@given(st.text(max_size=200))
def test_nothing_is_too_strange(value: str) -> None:
    split_parameters(value)
    assert "\n" not in file_name(value)
