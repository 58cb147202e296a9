"""Files of signing keys: our homeservers', and those that the tools read and write."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mmr.crypto.key_formats import BadKeyFile, KeyFormat, decode_keys, encode_keys
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
    """The keys of a homeserver's file. The first one signs. Blocks.

    Raises:
        ConfigError: the file can't be read, or holds no keys.
    """
    try:
        return read_key_file(path)
    except OSError as e:
        advice = "Change the path, or let the user that mmr runs as read it."
        raise _error(path, f"can't be read: {e.strerror}. {advice}") from e
    except BadKeyFile as e:
        raise _error(path, f"{e}. {_FORMATS}") from None


def read_key_file(path: Path) -> tuple[SigningKey, ...]:
    """The keys of a file, in any of the formats. Blocks.

    Raises:
        BadKeyFile: it holds no keys.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise BadKeyFile(f"it is longer than {_MAX_BYTES} bytes")
    try:
        _, keys = decode_keys(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadKeyFile("it is no text") from None
    return keys


def write_key_file(path: Path, keys: Iterable[SigningKey], kind: KeyFormat) -> None:
    """Write a file of keys that its owner alone may read. Blocks.

    A file that is there is replaced as a whole: a crash leaves the old one or the new.

    Raises:
        OSError: it can't be written.
    """
    # Made with mode 0600, whatever the mode of the file that it replaces.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(encode_keys(keys, kind))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
