"""Media that moves in under its own id, alone and in company, on both engines."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import ClassVar

from mmr.media.adopt import Adoption, AdoptOutcome
from mmr.storage.attributes import Purpose

from tests.harness import ALICE, HOST
from tests.media.adopting import LARGE, SMALL, WHEN, AdoptCases, broken, media, never


class AdoptTests(AdoptCases):
    __test__: ClassVar[bool] = False

    async def test_it_is_as_it_was_elsewhere(self) -> None:
        for media_id, data in (("small", SMALL), ("large", LARGE)):
            outcome = await self.adopt(media(media_id), data)
            self.assertEqual(outcome, AdoptOutcome(Adoption.STORED, len(data)))
            answer = await self.download(media_id)
            self.assertEqual(answer.body, data)
            record = await self.record(media_id)
            self.assertEqual(record.creation_ts, WHEN)
            self.assertEqual(record.user_id, ALICE)
            self.assertEqual(record.upload_name, "a name")
            self.assertEqual(record.content_type, "text/plain")
            self.assertEqual(record.sha256_hash, hashlib.sha256(data).hexdigest())
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_when_it_was_last_asked_for(self) -> None:
        for name, last, wanted in (
            ("never", None, WHEN),
            ("later", WHEN + 5, WHEN + 5),
            ("earlier", WHEN - 5, WHEN),
        ):
            for size in (3, 60_000):
                data = f"{name}{size}".encode() * size
                item = media(f"{name}{size}", last_access_ts=last)
                await self.adopt(item, data)
                row = await self.server.db.fetch_one(
                    "read_access",
                    "SELECT last_access_ts FROM last_access WHERE sha256_hash = ?",
                    (hashlib.sha256(data).hexdigest(),),
                )
                self.assertEqual(row, (wanted,))

    async def test_media_of_another_server(self) -> None:
        item = media("abc", origin="far.example", user_id="")
        await self.adopt(item, SMALL)
        answer = await self.get(
            "/_matrix/client/v1/media/download/far.example/abc?allow_remote=false"
        )
        self.assertEqual(answer.body, SMALL)

    async def test_neither_quota_nor_upload_limit_count(self) -> None:
        await self.adopt_all([(media(f"m{n}"), b"%d" % n * 20) for n in range(5)])
        self.assertEqual(await self.count("media"), 5)
        usage = await self.server.stores.quotas.get_usage(ALICE)
        self.assertEqual((usage.files, usage.size_bytes), (5, 100))

    async def test_many_share_transactions_and_folders(self) -> None:
        before = self.server.db.transactions
        items = [(media(f"m{n}"), b"%d" % n) for n in range(300)]
        outcomes = await self.adopt_all(items)
        self.assertTrue(all(each.adoption is Adoption.STORED for each in outcomes))
        self.assertLess(self.server.db.transactions - before, 20)
        self.assertLess(len({path.parent for path in self.files()}), 10)
        for item, data in items[::37]:
            self.assertEqual((await self.download(item.media_id)).body, data)
        totals = await self.server.stores.datastores.get_totals()
        self.assertEqual(totals["folder"].objects, 300)
        self.assertEqual(totals["folder"].size_bytes, sum(len(d) for _, d in items))

    async def test_many_at_once(self) -> None:
        """As the reader of archives gives them; each has its own outcome."""
        await self.adopt(media("known"), b"known")
        files = [(media(f"m{n}", expected_bytes=2), b"%02d" % n) for n in range(20)]
        files += [
            (media("known"), b"known"),
            (media("short", expected_bytes=5), b"1234"),
            (media("wrong", expected_sha256="0" * 64), b"1234"),
            (media("../x"), b"1234"),
            (media("far", origin="far.example", user_id=""), b"far"),
        ]
        outcomes = await self.server.adoptions.adopt_small(files)
        self.assertEqual(
            [each.adoption for each in outcomes],
            [Adoption.STORED] * 20
            + [Adoption.KNOWN, Adoption.DAMAGED, Adoption.DAMAGED, Adoption.REFUSED]
            + [Adoption.STORED],
        )
        self.assertEqual(await self.count("media"), 22)
        self.assertEqual(await self.server.adoptions.adopt_small([]), [])

    async def test_freezing_is_as_here_or_as_there(self) -> None:
        await self.adopt_all(
            [
                (media("here"), b"1"),
                (media("open", requires_auth=False), b"2"),
                (media("frozen", requires_auth=True), b"3"),
            ]
        )
        legacy = f"/_matrix/media/v3/download/{HOST}/"
        for media_id, status in (("here", 404), ("open", 200), ("frozen", 404)):
            answer = await self.get(legacy + media_id, token=None)
            self.assertEqual(answer.status, status, media_id)

    async def test_what_is_protected_is_pinned(self) -> None:
        items = [
            (media("small", is_protected=True), SMALL),
            (media("large", is_protected=True), LARGE),
            (media("other"), b"other"),
        ]
        await self.adopt_all(items)
        purposes = [
            await self.server.stores.attributes.get_purpose(HOST, item.media_id)
            for item, _ in items
        ]
        self.assertEqual(purposes, [Purpose.PINNED, Purpose.PINNED, Purpose.NONE])

    async def test_the_same_bytes_share_an_object(self) -> None:
        """Duplicates keep their ids."""
        for data in (SMALL, LARGE):
            size = str(len(data))
            outcomes = await self.adopt_all(
                [(media(f"{name}{size}"), data) for name in ("a", "b", "c")]
            )
            self.assertEqual({each.adoption for each in outcomes}, {Adoption.STORED})
            await self.adopt(media(f"d{size}"), data)
            await self.clean_up()
            for name in ("a", "b", "c", "d"):
                self.assertEqual((await self.download(f"{name}{size}")).body, data)
        self.assertEqual(len(self.files()), 2)

    async def test_an_id_that_is_here_is_left_alone(self) -> None:
        for data in (SMALL, LARGE):
            item = media(f"m{len(data)}")
            await self.adopt(item, data)
            again = await self.adopt(item, data)
            self.assertEqual(again, AdoptOutcome(Adoption.KNOWN, len(data)))
            other = await self.adopt(
                media(item.media_id, expected_bytes=5, user_id=""), b"other"
            )
            self.assertEqual(other.adoption, Adoption.CONFLICT)
            self.assertIn("other content", other.detail)
            self.assertEqual((await self.download(item.media_id)).body, data)
            self.assertEqual((await self.record(item.media_id)).user_id, ALICE)
        await self.clean_up()
        self.assertEqual(len(self.files()), 2)

    async def test_the_bytes_of_a_known_id_are_not_asked_for(self) -> None:
        await self.adopt(media(), LARGE)
        sha256 = hashlib.sha256(LARGE).hexdigest()
        for values, adoption in (
            ({}, Adoption.KNOWN),
            ({"expected_bytes": len(LARGE)}, Adoption.KNOWN),
            ({"expected_bytes": len(LARGE) + 1}, Adoption.CONFLICT),
            ({"expected_sha256": sha256}, Adoption.KNOWN),
            ({"expected_sha256": "0" * 64}, Adoption.CONFLICT),
        ):
            outcome = await self.adopt(media(**values), never())
            self.assertEqual(outcome.adoption, adoption, values)

    async def test_one_id_twice_at_once(self) -> None:
        outcomes = await self.adopt_all(
            [(media(), SMALL), (media(), SMALL), (media(), b"other")]
        )
        # Whichever comes first; on PostgreSQL they run at the same time.
        names = sorted(each.adoption.value for each in outcomes)
        self.assertIn(
            names,
            (["conflict", "known", "stored"], ["conflict", "conflict", "stored"]),
        )
        await self.clean_up()
        self.assertEqual(len(self.files()), 1)

    async def test_lost_bytes_are_replaced(self) -> None:
        await self.adopt(media(), SMALL)
        (await self.path_of("abc")).unlink()
        item = media(expected_bytes=len(SMALL))
        self.assertEqual((await self.adopt(item, SMALL)).adoption, Adoption.KNOWN)
        self.assertEqual((await self.download("abc")).body, SMALL)

    async def test_other_bytes_than_announced_are_not_kept(self) -> None:
        for data in (SMALL, LARGE):
            size = len(data)
            for values in (
                {"expected_bytes": size + 1},
                {"expected_bytes": size - 1},
                {"expected_sha256": "0" * 64},
            ):
                outcome = await self.adopt(media(**values), data)
                self.assertEqual(outcome.adoption, Adoption.DAMAGED, values)
                self.assertNotEqual(outcome.detail, "")
        await self.clean_up()
        self.assertTrue(await self.is_empty())

    async def test_more_than_the_limit_is_not_read(self) -> None:
        """R77: an endless source ends."""

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield bytes(100_000)
            raise AssertionError("it was read on and on")

        for limit in (1000, 1_000_000):
            outcome = await self.adopt(media(max_bytes=limit), endless())
            self.assertEqual(outcome.adoption, Adoption.REFUSED)
            self.assertIn(str(limit), outcome.detail)
        self.assertTrue(await self.is_empty())

    async def test_a_record_that_cannot_be(self) -> None:
        """R70: ids and texts of another database are strangers' input."""
        for values in (
            {"media_id": "../../etc/passwd"},
            {"media_id": "a\n"},
            {"media_id": ""},
            {"origin": "not a server"},
            {"upload_name": "a\0b"},
            {"content_type": "\ud800"},
            {"user_id": "@a\0:b"},
            {"creation_ts": -1},
        ):
            outcome = await self.adopt(media(**{"media_id": "a", **values}), never())
            self.assertEqual(outcome.adoption, Adoption.REFUSED, values)

    async def test_a_source_that_fails(self) -> None:
        with self.assertRaisesRegex(OSError, "the source is gone"):
            await self.adopt(media(), broken())
        self.assertTrue(await self.is_empty())

    async def test_quarantined_content_is_refused(self) -> None:
        """R86: the same bytes can't come back."""
        await self.adopt(media("bad"), SMALL)
        await self.quarantine("bad")
        for number, data in enumerate((SMALL, SMALL)):
            outcome = await self.adopt(media(f"m{number}"), data)
            self.assertEqual(outcome.adoption, Adoption.REFUSED)
        self.assertEqual(await self.count("media"), 1)
        outcome = await self.adopt(media("pinned", is_protected=True), SMALL)
        self.assertEqual(outcome.adoption, Adoption.STORED)
        self.assertEqual((await self.download("pinned")).body, SMALL)

    async def test_what_was_quarantined_there_is_here(self) -> None:
        """R84, R86: with all copies, those that moved in before included."""
        for data in (SMALL, LARGE):
            first, bad, worse = (f"{name}{len(data)}" for name in ("a", "b", "c"))
            await self.adopt(media(first), data)
            self.assertEqual((await self.download(first)).status, 200)
            for media_id in (bad, worse):
                item = media(media_id, is_quarantined=True)
                outcome = await self.adopt(item, data)
                self.assertEqual(outcome.adoption, Adoption.STORED)
                self.assertTrue((await self.record(media_id)).quarantined)
            for media_id in (first, bad, worse):
                self.assertNotEqual((await self.download(media_id)).body, data)


class AdoptOnSqlite(AdoptTests):
    __test__ = True


class AdoptOnPostgres(AdoptTests):
    __test__ = True
    engine = "postgres"
