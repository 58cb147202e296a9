"""The files that homeservers keep their signing keys in (tools reference 9.3).

Synapse writes a line for each key, Dendrite and MMR a PEM block. All are read as they
are, and written as their owners do, byte for byte.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Iterable, Iterator

from mmr.crypto.keys import ALGORITHM, SEED_BYTES, SigningKey, decode_base64

_BLOCK = re.compile(
    r"-----BEGIN (?P<type>[A-Z0-9 ]+)-----[ \t]*\n(?P<inside>[^-]*(?:-(?!----)[^-]*)*)"
    r"-----END (?P=type)-----[ \t]*(?:\n|\Z)"
)
_PEM_START = "-----BEGIN "
# Any text by the reference; what would break a header or a line out of it is none.
_VERSION = re.compile(r"[!#-\[\]-~]{1,128}\Z")
_MAX_SHOWN = 40


class KeyFormat(enum.Enum):
    """Whose file it is; the value is the name that the tools take."""

    SYNAPSE = "synapse"
    DENDRITE = "dendrite"
    MMR = "mmr"


_PEM_TYPES = {
    "MATRIX PRIVATE KEY": KeyFormat.DENDRITE,
    "MMR PRIVATE KEY": KeyFormat.MMR,
}


class BadKeyFile(ValueError):
    """The text isn't a file of signing keys. The message never shows a key."""


def decode_keys(text: str) -> tuple[KeyFormat, tuple[SigningKey, ...]]:
    """Read the keys of a file in any of the formats; there is one at least.

    Of a file that has both PEM types, Dendrite's are taken, as MMR does.

    Raises:
        BadKeyFile: there is none, or one is malformed.
    """
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise BadKeyFile("it is empty")
    if _PEM_START not in text:
        return KeyFormat.SYNAPSE, tuple(_synapse_keys(text))
    blocks = list(_pem_blocks(text))
    kinds = [_PEM_TYPES[name] for name, _ in blocks if name in _PEM_TYPES]
    if not kinds:
        found = ", ".join(sorted({name for name, _ in blocks}))
        raise BadKeyFile(f"it has {found} in place of a Matrix signing key")
    kind = KeyFormat.DENDRITE if KeyFormat.DENDRITE in kinds else KeyFormat.MMR
    inside = (text for name, text in blocks if _PEM_TYPES.get(name) is kind)
    return kind, tuple(_pem_key(kind, one) for one in inside)


def encode_keys(keys: Iterable[SigningKey], kind: KeyFormat) -> str:
    """Write keys as the owner of the format does."""
    if kind is KeyFormat.SYNAPSE:
        # Without a line end after the last: so do Synapse's own files, in MMR's eyes.
        return "\n".join(_synapse_line(key) for key in keys)
    return "".join(_pem_text(key, kind) for key in keys)


def _synapse_line(key: SigningKey) -> str:
    return f"{ALGORITHM} {key.version} {_base64(key).rstrip('=')}"


def _pem_text(key: SigningKey, kind: KeyFormat) -> str:
    name = next(name for name, one in _PEM_TYPES.items() if one is kind)
    version = "Version: 1\n" if kind is KeyFormat.MMR else ""
    return (
        f"-----BEGIN {name}-----\nKey-ID: {key.key_id}\n{version}\n"
        f"{_base64(key)}\n-----END {name}-----\n"
    )


def _base64(key: SigningKey) -> str:
    return base64.b64encode(key.seed).decode("ascii")


def _synapse_keys(text: str) -> Iterator[SigningKey]:
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"line {number}"
        if len(fields) != 3:
            raise BadKeyFile(f"{where} has {len(fields)} words in place of 3")
        if fields[0] != ALGORITHM:
            raise BadKeyFile(f"{where} doesn't begin with {ALGORITHM}")
        yield _key(where, fields[1], fields[2])


def _pem_blocks(text: str) -> Iterator[tuple[str, str]]:
    """The type and the inside of each block. Text before the first is skipped."""
    position = text.index(_PEM_START)
    while text[position:].strip():
        gap = len(text[position:]) - len(text[position:].lstrip())
        block = _BLOCK.match(text, position + gap)
        if block is None:
            line = text.count("\n", 0, position + gap) + 1
            raise BadKeyFile(f"line {line} doesn't begin a whole PEM block")
        yield block["type"], block["inside"]
        position = block.end()


def _pem_key(kind: KeyFormat, inside: str) -> SigningKey:
    where = f"a block of {kind.value}'s format"
    head, blank, body = inside.partition("\n\n")
    if not blank:
        raise BadKeyFile(f"{where} has no Key-ID, or no empty line after it")
    headers = {}
    for line in head.split("\n"):
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    algorithm, _, version = headers.get("Key-ID", "").partition(":")
    if algorithm != ALGORITHM:
        raise BadKeyFile(f"{where} has no Key-ID: {ALGORITHM}:…")
    if kind is KeyFormat.MMR and headers.get("Version") != "1":
        raise BadKeyFile(f"{where} isn't of Version: 1")
    return _key(where, version, "".join(body.split()))


def _key(where: str, version: str, seed: str) -> SigningKey:
    if _VERSION.match(version) is None:
        raise BadKeyFile(f"{where} has no usable key version: {version[:_MAX_SHOWN]!r}")
    try:
        data = decode_base64(seed)
    except ValueError:
        raise BadKeyFile(f"{where} has a key that isn't base64") from None
    if len(data) < SEED_BYTES:
        raise BadKeyFile(
            f"{where} has a key of {len(data)} bytes in place of {SEED_BYTES}"
        )
    return SigningKey(version, data[:SEED_BYTES])
