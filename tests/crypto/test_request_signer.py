"""Signing our own requests, and checking our own key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.trial.unittest import TestCase

from mmr.config import DomainConfig
from mmr.crypto.key_check import check_own_key
from mmr.crypto.key_formats import KeyFormat, encode_keys
from mmr.crypto.request_signer import RequestSigners
from mmr.errors import ConfigError

from tests.auth.fakes import make_config
from tests.crypto.documents import document
from tests.crypto.vectors import MMR, MMR_2, REQUESTS

P = ParamSpec("P")
R = TypeVar("R")
TARGET = "/_matrix/federation/v1/media/download/abc123"


class Foreground:
    """Runs blocking work here, and counts it."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        self.runs += 1
        return function(*args, **kwargs)


class RequestSignerTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "signing.key"
        self.file.write_text(encode_keys([MMR, MMR_2], KeyFormat.SYNAPSE))
        self.files = Foreground()
        self.signers = RequestSigners(self.files)

    def domain(self, path: str | None = None) -> DomainConfig:
        homeserver: dict[str, Any] = {
            "name": "example.org",
            "csApi": "http://127.0.0.1:1",
            "signingKeyPath": str(self.file) if path is None else path,
        }
        config = make_config(
            self.folder, "http://127.0.0.1:1", homeservers=[homeserver]
        )
        return config.domains["example.org"]

    async def test_first_key_of_the_file_signs(self) -> None:
        header = await self.signers.get(self.domain()).sign(
            "GET", TARGET, "remote.example"
        )
        self.assertEqual(
            header.decode(),
            'X-Matrix origin="example.org",destination="remote.example",'
            f'key="ed25519:e5d0oC",sig="{REQUESTS[0][4]}"',
        )

    async def test_file_is_read_once_until_the_configuration_is_reloaded(self) -> None:
        domain = self.domain()
        for _ in range(3):
            await self.signers.get(domain).sign("GET", TARGET, "remote.example")
        self.assertEqual(self.files.runs, 1)
        self.file.write_text(encode_keys([MMR_2], KeyFormat.DENDRITE))
        keys = await self.signers.get(self.domain()).keys()
        self.assertEqual(keys, (MMR_2,))

    async def test_missing_key_is_an_error_that_names_the_setting(self) -> None:
        """R60: no silent fall-back to unsigned requests."""
        with self.assertRaisesRegex(ConfigError, "example.org has no signing key"):
            await self.signers.get(self.domain("")).sign("GET", TARGET, "b.example")

    async def test_unreadable_file_is_tried_again(self) -> None:
        signer = self.signers.get(self.domain())
        text = self.file.read_text()
        self.file.unlink()
        with self.assertRaisesRegex(ConfigError, "signing.key"):
            await signer.sign("GET", TARGET, "b.example")
        self.file.write_text(text)
        await signer.sign("GET", TARGET, "b.example")


class OwnKeyTests(TestCase):
    """R60."""

    def check(self, published: dict[str, Any]) -> str:
        findings = check_own_key("example.org", "/etc/mmr/key", MMR, published)
        return "\n".join(findings)

    def test_published_key_is_fine(self) -> None:
        self.assertEqual(self.check(document("example.org", MMR_2, MMR)), "")

    def test_padding_is_no_difference(self) -> None:
        listed = {MMR.key_id: {"key": f"{MMR.verify_key.text}="}}
        self.assertEqual(self.check(document("example.org", verify_keys=listed)), "")

    def test_mismatch_names_file_keys_and_consequence(self) -> None:
        told = self.check(document("example.org", MMR_2))
        for part in (
            "/etc/mmr/key: the key ed25519:e5d0oC isn't published",
            "the keys that example.org publishes are ed25519:CjtBYA",
            "Other servers will refuse our requests",
            "Set signingKeyPath of example.org",
        ):
            self.assertIn(part, told)

    def test_other_key_of_the_same_id(self) -> None:
        listed = {MMR.key_id: {"key": MMR_2.verify_key.text}}
        told = self.check(document("example.org", verify_keys=listed))
        self.assertIn("ed25519:e5d0oC is another one", told)

    def test_key_that_was_rotated_away(self) -> None:
        old = {MMR.key_id: {"key": MMR.verify_key.text, "expired_ts": 1}}
        told = self.check(document("example.org", MMR_2, old_verify_keys=old))
        self.assertIn("ed25519:e5d0oC is an old one", told)

    def test_document_of_another_server(self) -> None:
        told = self.check(document("other.example", MMR))
        self.assertIn("publishes the keys of 'other.example'", told)
        self.assertIn("Is csApi of example.org right?", told)

    def test_malformed_document(self) -> None:
        for listed in (None, [], {"ed25519:x": 1}, {"ed25519:x": {"key": 1}}):
            published = {"server_name": "example.org", "verify_keys": listed}
            self.assertIn("publishes are none", self.check(published))
