"""Signs our requests to other servers with the keys of our homeservers."""

from __future__ import annotations

from pathlib import Path

from mmr.config import DomainConfig
from mmr.crypto.key_files import SETTING, read_signing_keys
from mmr.crypto.keys import SigningKey
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import XMatrix, request_object
from mmr.errors import ConfigError
from mmr.util.threads import Runner


class RequestSigner:
    """Signs as one homeserver. The key file is read once.

    Args:
        domain: The homeserver.
        files: Where the file is read.
    """

    def __init__(self, domain: DomainConfig, files: Runner) -> None:
        self.domain = domain
        self._files = files
        self._keys: tuple[SigningKey, ...] = ()

    async def keys(self) -> tuple[SigningKey, ...]:
        """The keys of the file; the first one signs.

        Raises:
            ConfigError: no file is configured (R60), or it has no usable key.
        """
        path = self.domain.signing_key_path
        if not path:
            raise ConfigError(
                f"the homeserver {self.domain.name} has no signing key, so other"
                " servers won't give us their media; set signingKeyPath to its key"
                " file",
                key=SETTING,
            )
        if not self._keys:
            self._keys = await self._files.run(read_signing_keys, Path(path))
        return self._keys

    async def sign(self, method: str, target: str, destination: str) -> bytes:
        """The ``Authorization`` header of a request without a body.

        Args:
            method: Such as ``GET``.
            target: Path and query exactly as sent.
            destination: Server name of the receiver, before delegation.

        Raises:
            ConfigError: there is no usable key. The request must not be sent.
        """
        key = (await self.keys())[0]
        origin = self.domain.name
        message = canonical_json(request_object(method, target, origin, destination))
        return XMatrix(origin, destination, key.key_id, key.sign(message)).header()


class RequestSigners:
    """The signer of each homeserver, kept while its configuration is.

    A reload of the configuration reads the key files anew.

    Args:
        files: Where key files are read.
    """

    def __init__(self, files: Runner) -> None:
        self._files = files
        # One entry per configured homeserver.
        self._signers: dict[str, RequestSigner] = {}

    def get(self, domain: DomainConfig) -> RequestSigner:
        """The signer for this homeserver."""
        known = self._signers.get(domain.name)
        if known is None or known.domain is not domain:
            known = self._signers[domain.name] = RequestSigner(domain, self._files)
        return known
