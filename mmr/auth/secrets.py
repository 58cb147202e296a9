"""The one comparison of secrets, and the one digest of tokens (R42, R43)."""

from __future__ import annotations

import hashlib
import hmac
import os

# Random per process: a digest that leaks (a core dump, a debugger) can't be tried
# against guesses, and nobody outside can choose tokens that collide.
_KEY = os.urandom(32)


def digest(*parts: str) -> bytes:
    """A keyed digest of texts; different lists of texts have different digests."""
    state = hashlib.blake2b(key=_KEY, digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data) + data)
    return state.digest()


def same_secret(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing about them.

    An empty expected secret equals nothing.
    """
    return bool(expected) and hmac.compare_digest(digest(given), digest(expected))
