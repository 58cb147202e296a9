"""Reads the signing keys of our homeservers from their files."""

from __future__ import annotations

import stat
from pathlib import Path

from mmr.crypto.key_formats import BadKeyFile, decode_keys
from mmr.crypto.keys import SigningKey
from mmr.errors import ConfigError

SETTING = "homeservers[].signingKeyPath"

_MAX_BYTES = 64 * 1024
_FORMATS = (
    "Expected is a signing key as Synapse (`ed25519 a_AbCd …`), Dendrite (`MATRIX"
    " PRIVATE KEY`) or matrix-media-repo (`MMR PRIVATE KEY`) keep it; Synapse's is the"
    " file at signing_key_path of homeserver.yaml."
)


def read_signing_keys(path: Path) -> tuple[SigningKey, ...]:
    """The keys of a file, in any of the formats. The first one signs. Blocks.

    Raises:
        ConfigError: the file can't be read, or holds no keys.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as e:
        advice = "Change the path, or let the user that mmr runs as read it."
        raise _error(path, f"can't be read: {e.strerror}. {advice}") from e
    if len(data) > _MAX_BYTES:
        raise _error(path, f"it is longer than {_MAX_BYTES} bytes. {_FORMATS}")
    try:
        _, keys = decode_keys(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _error(path, f"it is no text. {_FORMATS}") from None
    except BadKeyFile as e:
        raise _error(path, f"{e}. {_FORMATS}") from None
    return keys


def readable_by_others(path: Path) -> str | None:
    """A warning when more users than the owner and the group may read it (R104).

    Blocks. Says nothing about a file that can't be looked at: reading it does.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    if not mode & stat.S_IROTH:
        return None
    return (
        f"{path}: signing key that every user of this machine can read (mode"
        f" {mode:04o}); run chmod o-rwx {path}"
    )


def _error(path: Path, message: str) -> ConfigError:
    return ConfigError(message, source=str(path), key=SETTING)
