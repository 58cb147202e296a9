"""Asking servers and notaries for keys."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import TestCase

from mmr.crypto.key_fetchers import KeysUnavailable, NotaryKeys, OriginKeys

from tests.crypto.documents import document
from tests.crypto.vectors import MMR

HOST = "a.example:8448"


class FetcherTests(TestCase):
    def setUp(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer = b""

    async def get(self, server_name: str, path: str) -> bytes:
        self.asked.append((server_name, path))
        return self.answer

    async def fails(self, fetcher: OriginKeys | NotaryKeys, told: str) -> None:
        with self.assertRaisesRegex(KeysUnavailable, told):
            await fetcher.fetch(HOST)

    def notary_answers(self, *documents: Any) -> None:
        self.answer = json.dumps({"server_keys": documents}).encode()

    async def test_origin_is_asked_for_its_own_document(self) -> None:
        self.answer = json.dumps(document(HOST, MMR)).encode()
        self.assertEqual(await OriginKeys(self.get).fetch(HOST), document(HOST, MMR))
        self.assertEqual(self.asked, [(HOST, "/_matrix/key/v2/server")])

    async def test_answers_with_two_readings_are_refused(self) -> None:
        """R56."""
        for self.answer in (b'{"a":1,"a":2}', b'{"a":1.5}', b"[]", b"<html>", b""):
            await self.fails(OriginKeys(self.get), "answered /_matrix/key/v2/server")
            await self.fails(NotaryKeys(self.get, "n.example"), "n.example answered")

    async def test_notary_is_asked_for_the_server(self) -> None:
        self.notary_answers(document("b.example", MMR), document(HOST, MMR))
        notary = NotaryKeys(self.get, "n.example")
        self.assertEqual(await notary.fetch(HOST), document(HOST, MMR))
        self.assertEqual(
            self.asked, [("n.example", "/_matrix/key/v2/query/a.example%3A8448")]
        )

    async def test_document_that_lives_longest_is_taken(self) -> None:
        documents = [document(HOST, MMR, valid_until=time) for time in (5, 9, 7)]
        self.notary_answers(*documents, {"server_name": HOST})
        notary = NotaryKeys(self.get, "n.example")
        self.assertEqual((await notary.fetch(HOST))["valid_until_ts"], 9)

    async def test_notary_without_the_document(self) -> None:
        notary = NotaryKeys(self.get, "n.example")
        self.notary_answers(document("b.example", MMR), 1)
        await self.fails(notary, "n.example doesn't have them")
        self.answer = b'{"server_keys": 1}'
        await self.fails(notary, "n.example doesn't have them")

    async def test_notary_is_not_asked_about_itself(self) -> None:
        await self.fails(NotaryKeys(self.get, HOST), "the notary itself")
        self.assertEqual(self.asked, [])
