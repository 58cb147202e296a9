"""The types of values, each with the words for it.

Typing is as strict as MMR's (reference §1.3): no quoted numbers, no numbers as
booleans. A number in the place of text is taken as it is written.
"""

from __future__ import annotations

import ipaddress
import math
from pathlib import Path
from typing import Annotated, Any

import attrs
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from mmr.types import is_valid_server_name, server_of_user

_INT64 = 2**63
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@attrs.frozen
class Named:
    """The name of a type, for error messages and the manual."""

    name: str


class WrittenInt(int):
    """A whole number that remembers how it was written."""

    text: str


class WrittenFloat(float):
    """A number that remembers how it was written."""

    text: str


def expected(what: str) -> PydanticCustomError:
    """The error of a value; the loader adds what was found."""
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def problem(text: str, *key: str | int) -> PydanticCustomError:
    """An error in whole words, of a section or of the key at that path in it."""
    return PydanticCustomError("problem", "{text}", {"text": text, "key": key})


def _whole_number(value: Any) -> int:
    number = value
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise expected("a whole number")
    if not -_INT64 <= number < _INT64:
        raise expected("a whole number of at most 64 bits")
    return int(number)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise expected("a number")
    if not abs(value) < _INT64:
        raise expected("a number that is finite")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise expected("true or false")
    return value


def as_text(value: Any) -> str:
    """Text, or the way in which a scalar was written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = getattr(value, "text", value)
    if not isinstance(text, str):
        raise expected("text")
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        raise expected("text (put quotes around it)")
    return as_text(value)


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise expected("a path")
    return value


def _file_path(value: Any) -> Path:
    return value if isinstance(value, Path) else Path(_path(_text(value)))


def _natural(value: int) -> int:
    if value < 0:
        raise expected("a whole number, 0 or more")
    return value


def _positive(value: int) -> int:
    if value < 1:
        raise expected("a whole number, 1 or more")
    return value


def _port(value: int) -> int:
    if not 0 <= value <= 65535:
        raise expected("a port, 0 to 65535")
    return value


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _rate(value: float) -> float:
    if not value >= 0 or math.isinf(value):
        raise expected("a number, 0 or more")
    return value


def workers(when_unlimited: int) -> AfterValidator:
    """Replace "no limit" (0 or less) by a number: every pool of ours has a bound."""
    return AfterValidator(lambda value: value if value > 0 else when_unlimited)


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise expected("a network such as 10.0.0.0/8 or fc00::/7") from None


def _exemption(value: str) -> str:
    """Refuse a network that opens more than any private range has (R9)."""
    network = ipaddress.ip_network(value)
    width, bound = network.prefixlen, 8
    if isinstance(network, ipaddress.IPv6Network):
        wraps_ipv4 = any(network.subnet_of(outer) for outer in (_MAPPED, _NAT64))
        width, bound = (width - 96, 8) if wraps_ipv4 else (width, 7)
    if width < bound:
        raise expected("a network no wider than 10.0.0.0/8 or fc00::/7")
    return value


def _server_name(value: str) -> str:
    if not is_valid_server_name(value):
        raise expected("a server name such as example.org or example.org:8448")
    return value


def _user_id(value: str) -> str:
    if server_of_user(value) is None:
        raise expected("a user id such as @alice:example.org")
    return value


Int = Annotated[int, BeforeValidator(_whole_number), Named("whole number")]
Natural = Annotated[Int, AfterValidator(_natural), Named("whole number, 0 or more")]
Positive = Annotated[Int, AfterValidator(_positive), Named("whole number, 1 or more")]
Port = Annotated[Int, AfterValidator(_port), Named("port, 0 to 65535")]
Number = Annotated[float, BeforeValidator(_number), Named("number")]
Rate = Annotated[Number, AfterValidator(_rate), Named("number, 0 or more")]
Share = Annotated[Number, AfterValidator(_share), Named("number from 0 to 1")]
Flag = Annotated[bool, BeforeValidator(_flag), Named("true or false")]
Text = Annotated[str, BeforeValidator(_text), Named("text")]
OptionText = Annotated[str, BeforeValidator(as_text), Named("text")]
OptionPath = Annotated[OptionText, AfterValidator(_path), Named("path")]
PathText = Annotated[Text, AfterValidator(_path), Named("path")]
FilePath = Annotated[Path, BeforeValidator(_file_path), Named("path")]
Cidr = Annotated[Text, AfterValidator(_network), Named("network (CIDR)")]
Exemption = Annotated[Cidr, AfterValidator(_exemption), Named("network (CIDR)")]
ServerName = Annotated[Text, AfterValidator(_server_name), Named("server name")]
UserId = Annotated[Text, AfterValidator(_user_id), Named("user id")]
