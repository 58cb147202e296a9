"""Numbers, flags and texts from URLs, read strictly (R62, R67)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from mmr.errors import MatrixError, bad_request, invalid_param

_MAX_PARAMETERS = 100
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# ASCII digits only: int() also reads +1, 1_0 and other alphabets. 18 digits fit any
# database.
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def parse_integer(text: str) -> int | None:
    """Read a decimal number; None when it isn't one of at most 18 digits."""
    return int(text) if _INTEGER.match(text) else None


def percent_decode(text: str) -> str:
    """Decode one part of a URL, once.

    Raises:
        MatrixError: 400 for a broken escape, for what isn't UTF-8, and for NUL.
    """
    if "%" not in text:
        return text
    if _BAD_PERCENT.search(text):
        raise bad_request("Malformed percent-encoding in the URL")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_request("The URL is not UTF-8") from error
    if "\0" in decoded:
        raise bad_request("NUL in the URL")
    return decoded


class Query:
    """The parameters of a URL. The first occurrence of a name counts.

    Args:
        raw: What follows the question mark, as it came.
    """

    __slots__ = ("_values", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self._values: dict[str, list[str]] | None = None

    def text(self, name: str, default: str = "") -> str:
        """A value, decoded.

        Raises:
            MatrixError: 400, when the query can't be read.
        """
        values = self.all().get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """All values of a repeatable parameter."""
        return self.all().get(name, [])

    def boolean(self, name: str, default: bool, error: str) -> bool:
        """A flag in one of MMR's spellings; an empty value is no value.

        Args:
            name: The parameter.
            default: When it isn't given.
            error: What the client is told about any other spelling.

        Raises:
            MatrixError: 400.
        """
        text = self.text(name)
        if not text:
            return default
        if text not in _BOOLS:
            raise invalid_param(error)
        return _BOOLS[text]

    def integer(self, name: str, default: int, error: str) -> int:
        """A decimal number; an empty value is no value.

        Raises:
            MatrixError: 400.
        """
        text = self.text(name)
        if not text:
            return default
        value = parse_integer(text)
        if value is None:
            raise invalid_param(error)
        return value

    def all(self) -> dict[str, list[str]]:
        """All parameters, decoded.

        Raises:
            MatrixError: 400.
        """
        if self._values is None:
            self._values = _parse(self.raw)
        return self._values


def _parse(raw: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    if not raw:
        return values
    pairs = raw.split("&", _MAX_PARAMETERS)
    if len(pairs) > _MAX_PARAMETERS:
        raise _too_many()
    for pair in pairs:
        if pair:
            name, _, value = pair.replace("+", " ").partition("=")
            values.setdefault(percent_decode(name), []).append(percent_decode(value))
    return values


def _too_many() -> MatrixError:
    return bad_request("Too many query parameters")
