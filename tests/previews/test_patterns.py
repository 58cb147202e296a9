"""Patterns run in linear time (R26)."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import mmr.previews

SIZE = 1_000_000
SEEDS = (
    *("a", " ", "\n", "<", ">", "/", '"', "\\", '\\"', "\\\\", '"\\"', "[", "1", ","),
    *("<meta", "<meta ", "<html", "<html lang", "<?xml", "<title/", "<script ", "lang"),
    *("charset", "charset ", "charset=", "charset= ", "charset=' ", "encoding='"),
    *(
        "display",
        "display:",
        "display: ",
        "visibility",
        "a 1",
        "a 1w",
        "a,",
        ", ",
        "/icon",
    ),
    *("-sprite", "1.", "0px", "\x00", "\u202e", "1 "),
)
PREFIXES = (
    "",
    "<html ",
    "<meta ",
    "charset=",
    "charset= '",
    "lang=",
    '"',
    "display:",
    "a ",
)


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for info in pkgutil.iter_modules(mmr.previews.__path__):
        module = importlib.import_module(f"mmr.previews.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{info.name}.{name}", value


ALL = dict(patterns())


def seconds(pattern: re.Pattern[str], prefix: str, seed: str, size: int) -> float:
    """CPU time for all matches in a text of the prefix and many seeds."""
    text = prefix + seed * (size // len(seed))
    start = time.process_time()
    for _ in pattern.finditer(text):
        pass
    return time.process_time() - start


def test_the_patterns_are_found() -> None:
    assert {"charset._CHARSET", "images._SOURCE", "text._UNWANTED"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_hostile_text_takes_linear_time(name: str) -> None:
    """R26: a megabyte of the worst text; a quadratic pattern takes minutes for it."""
    pattern = ALL[name]
    texts = itertools.product(PREFIXES, SEEDS)
    worst = max(texts, key=lambda text: seconds(pattern, *text, SIZE // 100))

    # Less than 0.1 s on an idle machine.
    assert seconds(pattern, *worst, SIZE) < 0.5
