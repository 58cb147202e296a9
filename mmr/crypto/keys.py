"""Ed25519 keys as Matrix names and writes them (spec "Signing Events", appendices)."""

from __future__ import annotations

import base64
import binascii
import secrets
import string

import attrs
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey as _Seed
from nacl.signing import VerifyKey as _PublicKey

ALGORITHM = "ed25519"
SEED_BYTES = PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_VERSION_CHARACTERS = string.ascii_letters + string.digits


def encode_base64(data: bytes) -> str:
    """Standard base64 without padding, as everything in Matrix."""
    return base64.b64encode(data).decode("ascii").rstrip("=")


def decode_base64(text: str) -> bytes:
    """Read standard base64 with or without padding, and nothing else.

    Raises:
        ValueError: it is something else.
    """
    bare = text.rstrip("=")
    if len(text) - len(bare) > 2:
        raise ValueError("too much padding")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as e:
        raise ValueError("not base64") from e


@attrs.frozen(slots=True)
class VerifyKey:
    """A server's public key.

    Attributes:
        key_id: Such as ``ed25519:a_AbCd``.
        public: 32 bytes.
    """

    key_id: str
    public: bytes

    @property
    def text(self) -> str:
        """The public key as servers publish it."""
        return encode_base64(self.public)

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made that signature of the message."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            _PublicKey(self.public).verify(message, signature)
        except CryptoError:
            return False
        return True


@attrs.frozen(slots=True)
class SigningKey:
    """One of our private keys.

    Attributes:
        version: The part of the key id after the colon.
        seed: 32 bytes. Secret.
    """

    version: str
    seed: bytes = attrs.field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key, with a version of six letters and digits as MMR's tool makes it
        (mmr-tools §9.1).
        """
        version = "".join(secrets.SystemRandom().sample(_VERSION_CHARACTERS, 6))
        return cls(version, secrets.token_bytes(SEED_BYTES))

    @property
    def key_id(self) -> str:
        """Such as ``ed25519:a_AbCd``."""
        return f"{ALGORITHM}:{self.version}"

    @property
    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self.key_id, _Seed(self.seed).verify_key.encode())

    def sign(self, message: bytes) -> bytes:
        """The signature: 64 bytes, always the same for one message."""
        return _Seed(self.seed).sign(message).signature
