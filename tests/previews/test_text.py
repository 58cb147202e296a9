"""Text of strangers (R27, mmr-http-api §7.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmr.previews.text import MAX_CHARACTERS, clean, shorten


def test_white_space_becomes_single_spaces() -> None:
    assert shorten("  a \n\n b\t\u00a0c\u2028d ", 50, 200) == "a b c d"


def test_words_are_counted_first() -> None:
    assert shorten("one two three four", 2, 200) == "one two"


def test_then_whole_words_are_dropped_to_fit() -> None:
    assert shorten("one two three", 50, 12) == "one two"
    assert shorten("one two three", 50, 13) == "one two three"


def test_a_single_word_that_is_too_long_is_cut() -> None:
    assert shorten("abcdefghijk", 50, 10) == "abcdefg..."
    assert shorten("日" * 300, 50, 200) == "日" * 197 + "..."


def test_nothing_is_kept_of_nothing() -> None:
    assert shorten("", 50, 200) == shorten("a b", 0, 200) == shorten("a", 5, 0) == ""


def test_control_characters_and_direction_changes_are_removed() -> None:
    """R27."""
    assert clean("a\x00b\x1b[31mc\x7f\u009b") == "ab[31mc"
    assert clean("\u202etxt.exe\u202c \u2066x\u2069") == "txt.exe x"


def test_halves_of_surrogate_pairs_are_removed() -> None:
    """JSON can hold them, and they can't be encoded."""
    assert clean("a\ud83d b\udc00").encode() == b"a b"


def test_emoji_that_are_joined_stay_whole() -> None:
    assert clean("👩‍💻 🏳️‍🌈") == "👩‍💻 🏳️‍🌈"


def test_a_megabyte_is_cut_like_any_text() -> None:
    """R27."""
    assert len(shorten("x" * 1_000_000, 50, 10_000)) == MAX_CHARACTERS


@given(st.text(), st.integers(0, 60), st.integers(0, 300))
def test_the_limits_always_hold(text: str, words: int, length: int) -> None:
    short = shorten(text, words, length)

    assert len(short) <= length
    assert len(short.split()) <= words
    assert clean(short) == short
