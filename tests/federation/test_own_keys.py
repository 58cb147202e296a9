"""Our key beside the one that the homeserver publishes (R60)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mmr.config import DomainConfig
from mmr.crypto.keys import SigningKey, encode_base64
from mmr.crypto.request_signer import RequestSigners
from mmr.federation.own_keys import OwnKeys
from mmr.http.client import TrustedClient

from tests.crypto.documents import document
from tests.federation.support import Foreground
from tests.homeserver import Reply, StubHomeserver

NAME = "us.example"
KEY = SigningKey("ours", b"o" * 32)
OTHER = SigningKey("other", b"x" * 32)
_LOGGER = "mmr.federation.own_keys"


class OwnKeysTest(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.homeserver = StubHomeserver(reactor)
        self.url = await self.homeserver.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.homeserver.stop()))
        self.publish(document(NAME, KEY))
        client = TrustedClient(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        self.own_keys = OwnKeys(RequestSigners(Foreground()), client)
        self.path = self._write(KEY)

    def _write(self, key: SigningKey) -> Path:
        path = Path(self.mktemp()).absolute()
        path.write_text(f"ed25519 {key.version} {encode_base64(key.seed)}\n")
        path.chmod(0o600)
        return path

    def publish(self, value: dict[str, Any], status: int = 200) -> None:
        self.homeserver.override = Reply(status, json.dumps(value).encode())

    def domain(self, path: Path | str | None = None) -> DomainConfig:
        chosen = str(self.path if path is None else path)
        return DomainConfig(name=NAME, cs_api=self.url, signing_key_path=chosen)

    async def logs(self, domain: DomainConfig) -> list[str]:
        with self.assertLogs(_LOGGER, "WARNING") as logged:
            await self.own_keys.check([domain])
        return logged.output

    async def test_the_published_key_is_fine_and_asked_for_once(self) -> None:
        domain = self.domain()
        with self.assertNoLogs(_LOGGER):
            for _ in range(3):
                await self.own_keys.check([domain])
        self.assertEqual(self.homeserver.count("/_matrix/key/v2/server"), 1)

    async def test_another_key_names_file_keys_and_consequence(self) -> None:
        self.publish(document(NAME, OTHER))
        [line] = await self.logs(self.domain())
        self.assertTrue(line.startswith("ERROR"))
        for part in (str(self.path), KEY.key_id, OTHER.key_id, "will refuse"):
            self.assertIn(part, line)

    async def test_another_key_under_the_same_id(self) -> None:
        self.publish(document(NAME, SigningKey(KEY.version, b"x" * 32)))
        [line] = await self.logs(self.domain())
        self.assertIn("is another one than is published", line)

    async def test_a_key_that_is_published_as_an_old_one(self) -> None:
        old = {KEY.key_id: {"key": KEY.verify_key.text, "expired_ts": 1}}
        self.publish(document(NAME, OTHER, old_verify_keys=old))
        [line] = await self.logs(self.domain())
        self.assertIn("is an old one", line)

    async def test_the_wrong_homeserver(self) -> None:
        self.publish(document("them.example", KEY))
        [line] = await self.logs(self.domain())
        self.assertIn("them.example", line)
        self.assertIn("csApi", line)

    async def test_a_missing_file_is_named(self) -> None:
        [line] = await self.logs(self.domain("/nowhere/signing.key"))
        self.assertTrue(line.startswith("ERROR"))
        self.assertIn("/nowhere/signing.key", line)

    async def test_no_key_at_all(self) -> None:
        [line] = await self.logs(self.domain(""))
        self.assertIn("signingKeyPath", line)
        self.assertIn("not signed", line)

    async def test_a_homeserver_that_is_not_up_yet_is_asked_again(self) -> None:
        domain = self.domain()
        self.publish(document(NAME, OTHER), status=503)
        [line] = await self.logs(domain)
        self.assertIn("could not be compared", line)
        with self.assertNoLogs(_LOGGER):
            await self.own_keys.check([domain])
        self.publish(document(NAME, OTHER))
        [line] = await self.logs(domain)
        self.assertIn("isn't published", line)

    async def test_nobody_listens(self) -> None:
        await self.homeserver.stop()
        [line] = await self.logs(self.domain())
        self.assertIn("could not be compared", line)

    async def test_after_a_reload_it_is_compared_again(self) -> None:
        await self.own_keys.check([self.domain()])
        self.publish(document(NAME, OTHER))
        self.assertEqual(len(await self.logs(self.domain())), 1)
