"""Our media for other servers (mmr-http-api.md §5.9, MSC1902)."""

from __future__ import annotations

import email.parser
import email.policy
from typing import Any

from mmr.crypto import key_ring
from mmr.crypto.keys import SigningKey
from mmr.federation.multipart import open_envelope
from mmr.metrics import REGISTRY

from tests.crypto.documents import document
from tests.harness import HOST, Answer, png
from tests.rest.remote_case import KEYS, THEIR_KEY, RemoteCase
from tests.stub_web import silence

LARGE = bytes(range(256)) * 2000
DOWNLOAD = "/_matrix/federation/v1/media/download"
THUMBNAIL = "/_matrix/federation/v1/media/thumbnail"
MSC1902 = (
    "/_matrix/federation/v1/remote_media",
    "/_matrix/federation/unstable/org.matrix.msc1902/remote_media",
)
OTHER = "second.example"
OTHER_KEY = SigningKey("theirs", b"x" * 32)
_SIZE = "?width=32&height=32&method=crop"


def parts_of(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """The parts, as the standard library's MIME parser finds them."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(head + answer.body)
    assert not message.defects, message.defects
    assert not message.preamble
    found = []
    for part in message.iter_parts():
        headers = {name.lower(): str(value) for name, value in part.items()}
        found.append((headers, part.get_payload(decode=True)))
    return found


async def read_by_ourselves(answer: Answer, split: int) -> tuple[dict[str, str], bytes]:
    """The same by our own reader, from pieces of that size."""

    async def pieces() -> Any:
        for start in range(0, len(answer.body), split):
            yield answer.body[start : start + split]

    found = await open_envelope(answer.headers["content-type"], pieces())
    body = b"".join([piece async for piece in found.body])
    return dict(found.headers), body


class ServingTest(RemoteCase):
    async def test_the_envelope_to_the_byte(self) -> None:
        media_id = await self.upload(b"hello", "text/plain", "a.txt")
        answer = await self.ask_us(f"{DOWNLOAD}/{media_id}")
        content_type = answer.headers["content-type"]
        kind, _, boundary = content_type.partition("; boundary=")
        self.assertEqual((answer.status, kind), (200, "multipart/mixed"))
        self.assertRegex(boundary, r"\A[0-9a-f]{48}\Z")
        expected = (
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
            f"--{boundary}\r\nContent-Type: text/plain\r\n"
            "Content-Disposition: inline; filename=a.txt\r\n\r\nhello"
            f"\r\n--{boundary}--\r\n"
        )
        self.assertEqual(answer.body, expected.encode())

    async def test_the_length_is_announced(self) -> None:
        """So that a cut is noticed whatever the reader does."""
        target = f"{DOWNLOAD}/{await self.upload(LARGE)}"
        wire = await self.wire()
        line = f"Authorization: {self.signature(target)['Authorization']}"
        wire.send(self.head("GET", target, line, token=None))
        answer = await wire.answer()
        self.assertEqual(len(answer.body), int(answer.headers["content-length"]))
        self.assertEqual((await read_by_ourselves(answer, 4096))[1], LARGE)

    async def test_every_reader_gets_the_same_file(self) -> None:
        for content in (b"hello", b"", LARGE, b"\r\n--", b"\n" * 1000):
            media_id = await self.upload(content, "text/plain", "a.txt")
            answer = await self.ask_us(f"{DOWNLOAD}/{media_id}")
            first, second = parts_of(answer)
            self.assertEqual(first[1], b"{}")
            self.assertEqual(second[0]["content-type"], "text/plain")
            if content and b"\n" not in content:
                self.assertEqual(second[1], content)
            for split in (1, 7, 65536) if len(content) < 2000 else (65536,):
                headers, body = await read_by_ourselves(answer, split)
                self.assertEqual(body, content)
                self.assertEqual(headers["content-type"], "text/plain")

    async def test_the_boundary_is_another_each_time(self) -> None:
        media_id = await self.upload(b"hello")
        types = {
            (await self.ask_us(f"{DOWNLOAD}/{media_id}")).headers["content-type"]
            for _ in range(3)
        }
        self.assertEqual(len(types), 3)

    async def test_a_range_is_ignored(self) -> None:
        media_id = await self.upload(LARGE)
        target = f"{DOWNLOAD}/{media_id}"
        headers = {**self.signature(target), "Range": "bytes=0-3"}
        answer = await self.get(target, headers=headers)
        self.assertEqual(answer.status, 200)
        self.assertEqual((await read_by_ourselves(answer, 4096))[1], LARGE)

    async def test_thumbnails(self) -> None:
        media_id = await self.upload(png(200, 100))
        answer = await self.ask_us(f"{THUMBNAIL}/{media_id}{_SIZE}")
        _, (headers, body) = parts_of(answer)
        self.assertTrue(headers["content-type"].startswith("image/"))
        self.assertEqual((await read_by_ourselves(answer, 100))[1][:4], body[:4])

    async def test_msc1902_gives_the_plain_file(self) -> None:
        media_id = await self.upload(png(200, 100), "image/png", "a.png")
        for prefix in MSC1902:
            answer = await self.ask_us(f"{prefix}/download/{HOST}/{media_id}")
            self.assertEqual((answer.status, answer.body), (200, png(200, 100)))
            self.assertEqual(answer.headers["content-type"], "image/png")
            self.assertEqual(
                answer.headers["content-disposition"], "inline; filename=a.png"
            )
            answer = await self.ask_us(f"{prefix}/thumbnail/{HOST}/{media_id}{_SIZE}")
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.headers["content-type"].startswith("image/"))

    async def test_frozen_media_is_for_servers_that_prove_themselves(self) -> None:
        media_id = await self.upload(b"frozen")
        self.assertTrue((await self.record(media_id)).requires_auth)
        self.assertEqual((await self.ask_us(f"{DOWNLOAD}/{media_id}")).status, 200)

    async def test_unknown_quarantined_and_malformed_ids(self) -> None:
        media_id = await self.upload(b"bad")
        await self.quarantine(media_id)
        for name in (media_id, "unknown", "a.b", "x" * 256):
            answer = await self.ask_us(f"{DOWNLOAD}/{name}")
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")

    async def test_media_that_is_yet_to_come(self) -> None:
        """D24."""
        media_id = await self.create()
        answer = await self.ask_us(f"{DOWNLOAD}/{media_id}?timeout_ms=0")
        self.assertEqual(answer.status, 504)
        self.assertEqual(answer.json["errcode"], "M_NOT_YET_UPLOADED")

    async def test_only_get_is_known(self) -> None:
        """R57: nothing is changed by what could be sent again."""
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            answer = await self.request(method, f"{DOWNLOAD}/abc", body=b"")
            self.assertEqual(answer.status, 405)

    async def test_a_replayed_request_gets_the_same_and_changes_nothing(self) -> None:
        """R57."""
        media_id = await self.upload(b"hello")
        target = f"{DOWNLOAD}/{media_id}"
        headers = self.signature(target)
        tables = ("media", "mmr_object_intents", "restricted_media", "thumbnails")
        before = [await self.count(table) for table in tables]
        bodies = [await self.get(target, headers=headers) for _ in range(3)]
        contents = {(await read_by_ourselves(each, 100))[1] for each in bodies}
        self.assertEqual(contents, {b"hello"})
        self.assertEqual([await self.count(table) for table in tables], before)

    async def test_the_proof_is_never_logged(self) -> None:
        """R57, R42."""
        media_id = await self.upload(b"hello")
        with self.assertLogs(level="DEBUG") as logged:
            await self.ask_us(f"{DOWNLOAD}/{media_id}")
            await self.ask_us(f"{DOWNLOAD}/{media_id}", key=OTHER_KEY)
        self.assertNotIn("sig=", "".join(logged.output))

    async def test_answers_are_not_shared_between_callers(self) -> None:
        """R6, R57."""
        media_id = await self.upload(b"hello")
        answer = await self.ask_us(f"{DOWNLOAD}/{media_id}")
        self.assertTrue(answer.headers["cache-control"].startswith("private"))


class OthersMediaTest(RemoteCase):
    """R58, R21: each host gives what it is the origin of, and fetches nothing."""

    def change_config(self, settings: dict[str, Any]) -> None:
        [first] = settings["homeservers"]
        settings["homeservers"].append({**first, "name": OTHER})
        settings["federation"]["ignoredHosts"] = ["spam.example"]

    async def test_media_of_a_remote_server_is_not_passed_on(self) -> None:
        self.reply_file(b"remote")
        await self.fetch()
        for prefix in MSC1902:
            answer = await self.ask_us(f"{prefix}/download/{self.name}/abc")
            self.assertEqual(answer.status, 404)
        self.assertEqual((await self.ask_us(f"{DOWNLOAD}/abc")).status, 404)
        self.assertEqual(len(self.asked), 1)

    async def test_media_of_one_host_is_not_given_out_by_another(self) -> None:
        media_id = await self.upload(b"of the first")
        for target in (
            f"{DOWNLOAD}/{media_id}",
            *(f"{prefix}/download/{HOST}/{media_id}" for prefix in MSC1902),
            f"{THUMBNAIL}/{media_id}{_SIZE}",
        ):
            answer = await self.ask_us(target, OTHER)
            self.assertEqual(answer.status, 404, target)
            self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")

    async def test_an_ignored_server_gets_nothing(self) -> None:
        """Whatever its letters' case is."""
        media_id = await self.upload(b"hello")
        self.dns.hosts["spam.example"] = ["127.0.0.1"]
        spam = await self.serve("spam.example")
        name = f"SPAM.example:{spam.port}"
        spam.script = self.remote.script
        self.keys = document(name, THEIR_KEY, valid_until=self.later())
        federation = self.server.config.federation.model_copy(
            update={"ignored_hosts": (name.lower(),)}
        )
        self.server.config = self.server.config.model_copy(
            update={"federation": federation}
        )
        answer = await self.ask_us(f"{DOWNLOAD}/{media_id}", origin=name)
        self.assertEqual(answer.status, 403)
        self.assertNotIn(b"hello", answer.body)

    async def test_media_of_an_ignored_server_is_not_fetched(self) -> None:
        answer = await self.get("/_matrix/client/v1/media/download/spam.example/abc")
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.dns.asked, [])


class ProofTest(RemoteCase):
    """R50, R51: whatever is wrong with the signature, it is a 401."""

    async def setUp(self) -> None:
        await super().setUp()
        self.target = f"{DOWNLOAD}/{await self.upload(b'hello')}"

    async def refused(self, answer: Answer) -> None:
        self.assertEqual(answer.status, 401, answer.body)
        self.assertEqual(answer.json["errcode"], "M_UNAUTHORIZED")
        self.assertNotIn(b"hello", answer.body)

    async def refused_for(self, reason: str, **how: Any) -> None:
        """And one log line says why; the client isn't told."""
        with self.assertLogs("mmr.auth.federation", "INFO") as logged:
            answer = await self.ask_us(self.target, **how)
        await self.refused(answer)
        self.assertEqual(answer.json["error"], "invalid auth provided (required)")
        self.assertEqual(len(logged.output), 1)
        self.assertIn(reason, logged.output[0])

    async def test_a_right_one_is_let_in(self) -> None:
        self.assertEqual((await self.ask_us(self.target)).status, 200)

    async def test_no_signature(self) -> None:
        for token in (None, "alice-token"):
            await self.refused(await self.get(self.target, token=token))

    async def test_a_wrong_signature(self) -> None:
        await self.refused_for("the signature of", key=OTHER_KEY)

    async def test_a_signature_for_another_request(self) -> None:
        headers = self.signature(self.target + "?timeout_ms=1")
        await self.refused(await self.get(self.target, headers=headers))
        headers = self.signature(self.target)
        target = f"{self.target}?timeout_ms=1"
        await self.refused(await self.get(target, headers=headers))
        await self.refused(await self.get(target + "&x=y", headers=headers))

    async def test_another_destination(self) -> None:
        reason = "signed it for another server"
        await self.refused_for(
            reason, signed_for="other.example", destination="other.example"
        )
        await self.refused_for("signature", signed_for="other.example")
        await self.refused_for(
            "signature", signed_for="other.example", destination=None
        )

    async def test_no_destination(self) -> None:
        """R50: old servers leave it out; it is counted."""
        name = "media_federation_without_destination_total"
        before = REGISTRY.get_sample_value(name) or 0
        answer = await self.ask_us(self.target, destination=None)
        self.assertEqual(answer.status, 200)
        self.assertEqual(REGISTRY.get_sample_value(name), before + 1)

    async def test_our_own_name_as_origin(self) -> None:
        await self.refused_for("itself", origin=HOST)

    async def test_malformed_headers(self) -> None:
        """R51: 401, never 500."""
        good = self.signature(self.target)["Authorization"]
        for header in (
            "X-Matrix",
            "X-Matrix ",
            "X-Matrix origin",
            "X-Matrix origin=",
            'X-Matrix origin="a',
            good + ",origin=evil.example",
            good.replace("sig=", "sig=!"),
            good.replace("ed25519:", "rsa:"),
            good.replace(self.name, "a b"),
            good.replace(self.name, "../x"),
            good.replace(self.name, "é"),
            good + "," * 5000,
            "X-Matrix " + "a=b," * 2000,
        ):
            headers = {"Authorization": header}
            await self.refused(await self.get(self.target, headers=headers))

    async def test_one_wrong_entry_among_right_ones(self) -> None:
        wire = await self.wire()
        lines = [
            f"Authorization: {self.signature(self.target, key=key)['Authorization']}"
            for key in (THEIR_KEY, OTHER_KEY)
        ]
        wire.send(self.head("GET", self.target, *lines, token=None))
        await self.refused(await wire.answer())

    async def test_an_expired_key(self) -> None:
        """R52."""
        self.keys = document(self.name, THEIR_KEY, valid_until=self.later(-1000))
        await self.refused_for("is not known to have")

    async def test_an_old_key(self) -> None:
        """R52: it proves what was signed then, not who is asking now."""
        old = {THEIR_KEY.key_id: {"key": THEIR_KEY.verify_key.text, "expired_ts": 1}}
        self.keys = document(
            self.name,
            SigningKey("new", b"n" * 32),
            valid_until=self.later(),
            old_verify_keys=old,
        )
        await self.refused_for("is not known to have")

    async def test_the_keys_of_another_server(self) -> None:
        self.keys = document("other.example", THEIR_KEY, valid_until=self.later())
        await self.refused_for("is not known to have")

    async def test_keys_that_nobody_signed(self) -> None:
        del self.keys["signatures"]
        await self.refused_for("is not known to have")

    async def test_an_unknown_origin(self) -> None:
        await self.refused_for("is not known to have", origin="nowhere.example")

    async def test_a_key_server_that_is_down(self) -> None:
        self.keys = {"errcode": "M_UNKNOWN"}
        await self.refused_for("is not known to have")

    async def test_a_key_server_that_is_slow(self) -> None:
        """R54: and it delays nobody else."""
        self.patch(key_ring, "_FETCH_SECONDS", 0.2)
        slow = await self.serve("remote.example")
        slow.script = silence  # type: ignore[assignment]
        name = f"remote.example:{slow.port}"
        waiting = await self.wire()
        line = self.signature(self.target, origin=name)["Authorization"]
        head = self.head("GET", self.target, f"Authorization: {line}", token=None)
        waiting.send(head)
        self.assertEqual((await self.ask_us(self.target)).status, 200)
        self.assertEqual(waiting.received, b"")
        await self.refused(await waiting.answer())

    async def test_a_new_key_is_asked_for_at_once(self) -> None:
        """R53."""
        self.assertEqual((await self.ask_us(self.target)).status, 200)
        new = SigningKey("new", b"n" * 32)
        self.keys = document(self.name, new, valid_until=self.later())
        self.assertEqual((await self.ask_us(self.target, key=new)).status, 200)

    async def test_many_requests_with_made_up_key_ids_cost_one_look_up(self) -> None:
        """R53."""
        for number in range(20):
            made_up = SigningKey(f"k{number}", b"m" * 32)
            await self.refused(await self.ask_us(self.target, key=made_up))
        self.assertLessEqual(self._key_requests(), 2)

    async def test_requests_at_once_share_one_look_up(self) -> None:
        wires = [await self.wire() for _ in range(20)]
        line = f"Authorization: {self.signature(self.target)['Authorization']}"
        for wire in wires:
            wire.send(self.head("GET", self.target, line, token=None))
        for wire in wires:
            self.assertEqual((await wire.answer()).status, 200)
        self.assertEqual(self._key_requests(), 1)

    async def test_strangers_make_us_look_up_so_many_names_only(self) -> None:
        """R55."""
        statuses = []
        for number in range(60):
            answer = await self.ask_us(self.target, origin=f"x{number}.example")
            statuses.append(answer.status)
        self.assertEqual(set(statuses), {401, 429})
        self.assertLess(statuses.count(401), 60)

    def _key_requests(self) -> int:
        return sum(seen.target == KEYS for seen in self.remote.requests)
