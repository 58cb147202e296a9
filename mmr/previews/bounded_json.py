"""JSON of strangers, limited in size, depth and length of numbers (R25)."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
_MAX_DIGITS = 20
# A string, also one without an end; or a bracket. It matches at every quote, so a text
# is read once.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|[\[\]{}]', re.DOTALL)


def loads(text: str) -> Any:
    """Parse JSON.

    Args:
        text: Its length is the caller's to limit.

    Raises:
        ValueError: when it isn't JSON, or outside the limits.
    """
    _check_depth(text)
    return json.loads(
        text, parse_int=_integer, parse_float=_number, parse_constant=_refuse
    )


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("number too long")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number too large")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
