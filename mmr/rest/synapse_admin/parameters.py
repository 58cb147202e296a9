"""Parameters of Synapse's admin API, with Synapse's answers to wrong ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from mmr.errors import invalid_param, missing_param
from mmr.http.parameters import Query
from mmr.storage.listing import Page

K = TypeVar("K")

_DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
"""Longer pages are cut to this; ``next_token`` says where to go on."""

# 1970-12-14 in ms, and the year 2920 in seconds.
_LEAST_TIME_MS = 30_000_000_000
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_BOOLS = {"true": True, "false": False}


def number(query: Query, name: str, default: int) -> int:
    """A number from 0.

    Raises:
        MatrixError: 400.
    """
    text = query.text(name)
    if not text:
        return default
    if not _NUMBER.match(text):
        raise invalid_param(
            f"Query parameter '{name}' must be a string representing a positive integer"
        )
    return int(text)


def before_ts(query: Query) -> int:
    """``before_ts``, in ms.

    Raises:
        MatrixError: 400 without one, and for what looks like seconds.
    """
    if not query.text("before_ts"):
        raise missing_param("Missing required integer query parameter before_ts")
    value = number(query, "before_ts", 0)
    if value < _LEAST_TIME_MS:
        raise invalid_param(
            "Query parameter 'before_ts' is in milliseconds since the epoch; this"
            f" looks like seconds: did you mean {value}000?"
        )
    return value


def flag(query: Query, name: str, default: bool) -> bool:
    """``true`` or ``false``.

    Raises:
        MatrixError: 400.
    """
    text = query.text(name)
    if not text:
        return default
    if text not in _BOOLS:
        raise invalid_param(f"Query parameter '{name}' must be one of: true, false")
    return _BOOLS[text]


def choice(query: Query, name: str, values: Mapping[str, K], default: str) -> K:
    """One of some words.

    Raises:
        MatrixError: 400.
    """
    text = query.text(name) or default
    if text not in values:
        raise invalid_param(
            f"Query parameter '{name}' must be one of: {', '.join(values)}"
        )
    return values[text]


def page(query: Query, direction: str = "f") -> Page:
    """``from``, ``limit`` and ``dir``.

    Raises:
        MatrixError: 400.
    """
    descending = choice(query, "dir", {"f": False, "b": True}, direction)
    limit = number(query, "limit", _DEFAULT_LIMIT)
    return Page(number(query, "from", 0), min(limit, MAX_LIMIT), descending)


def next_token(page: Page, found: int, total: int) -> dict[str, int]:
    """Where the next page begins; nothing at the end."""
    if page.offset + page.limit < total:
        return {"next_token": page.offset + found}
    return {}
