"""JSON of strangers (R25)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.previews import bounded_json


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 33 + "]" * 33,
        "1" * 5000,
        '{"a": 1e999}',
        '{"a": NaN}',
        "[Infinity]",
        "[-Infinity]",
        "",
        "<html>",
        '"unterminated',
        '"\\"' * 50_000,
    ],
)
def test_what_is_outside_the_limits_is_an_error(text: str) -> None:
    """R25."""
    with pytest.raises(ValueError, match=r"\w"):
        bounded_json.loads(text)


def test_brackets_in_strings_don_t_count() -> None:
    text = json.dumps({"a": "[" * 100 + '\\"' + "{" * 100})

    assert bounded_json.loads(text) == json.loads(text)


@given(st.recursive(st.text() | st.integers(-(10**9), 10**9), st.lists, max_leaves=20))
def test_ordinary_json_is_read_as_ever(value: object) -> None:
    assert bounded_json.loads(json.dumps(value)) == value


@given(st.text(alphabet='[]{}"\\,:a1e.-N '))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        bounded_json.loads(text)
    except ValueError:
        return
    json.loads(text)
