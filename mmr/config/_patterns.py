"""Appservice namespaces: anchored patterns that can't be made to run for long (R46)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Annotated, Any

from pydantic import BeforeValidator

from mmr.config._values import Named, expected

_MAX_LENGTH = 1000
_MAX_USER_ID = 255
# Three ".*" fit, a fourth doesn't: with three, the longest user id that nearly
# matches costs some 6 ms.
_MAX_WAYS = (_MAX_USER_ID + 1) ** 3
_REPEATS = {
    _constants.MAX_REPEAT,
    _constants.MIN_REPEAT,
    _constants.POSSESSIVE_REPEAT,
}
_PLAIN = {
    _constants.LITERAL,
    _constants.NOT_LITERAL,
    _constants.ANY,
    _constants.IN,
    _constants.AT,
}


def compile_namespace(value: Any) -> re.Pattern[str]:
    """Compile the pattern of a user namespace. Use it with ``fullmatch`` only.

    Raises:
        PydanticCustomError: when it is no pattern, or one that can backtrack.
    """
    if isinstance(value, re.Pattern):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_LENGTH:
        raise expected(f"a regular expression of at most {_MAX_LENGTH} characters")
    try:
        ways = _ways(_parser.parse(value), is_repeated=False)
        pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError):
        raise expected("a valid regular expression") from None
    if ways > _MAX_WAYS:
        raise expected(
            "a regular expression that runs in bounded time: no repetition or choice"
            " inside a repetition, no look-around or back-reference, and at most three"
            " open-ended parts such as .*"
        )
    return pattern


def _ways(items: Iterable[Any], *, is_repeated: bool) -> float:
    """An upper bound of the ways in which a matcher may try one text."""
    return math.prod(_ways_of(code, value, is_repeated) for code, value in items)


def _ways_of(code: Any, value: Any, is_repeated: bool) -> float:
    if code in _PLAIN:
        return 1
    if code is _constants.SUBPATTERN:
        return _ways(value[-1], is_repeated=is_repeated)
    if code is _constants.BRANCH and not is_repeated:
        return sum(_ways(branch, is_repeated=False) for branch in value[1])
    if code in _REPEATS:
        low, high, body = int(value[0]), int(value[1]), value[2]
        choices = min(high, _MAX_USER_ID) - low + 1
        if is_repeated and choices > 1:
            return math.inf
        return max(1, choices) * _ways(body, is_repeated=is_repeated or high > 1)
    return math.inf


Namespace = Annotated[
    re.Pattern[str],
    BeforeValidator(compile_namespace),
    Named("regular expression"),
]
