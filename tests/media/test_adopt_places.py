"""Where adopted media goes, and who is asked about it."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mmr.media.adopt import AdoptedMedia, Adoption, AdoptOutcome

from tests.datastores.s3_server import bucket_options, new_bucket
from tests.harness import ALICE, HOST, ServerCase
from tests.media.adopting import media, pieces
from tests.plugins.test_pipelines import ProgramCase

OTHER = "other.example"
FAR = "far.example"


class HookTests(ProgramCase, ServerCase):
    """R86: hooks look at what moves in, small or large."""

    async def test_what_a_plugin_refuses_stays_out(self) -> None:
        for size in (0, 1_000_000):
            bad, good = b"casino" + bytes(size), b"harmless" + bytes(size)
            files = [(media(f"b{size}"), bad), (media(f"g{size}"), good)]
            if size:
                adopt = self.server.adoptions.adopt
                outcomes = [await adopt(item, pieces(data)) for item, data in files]
            else:
                outcomes = await self.server.adoptions.adopt_small(files)
            self.assertEqual(
                [each.adoption for each in outcomes],
                [Adoption.REFUSED, Adoption.STORED],
            )
            self.assertEqual((await self.download(f"g{size}")).body, good)
            self.assertEqual((await self.download(f"b{size}")).status, 404)
        self.assertEqual(len(self.questions()), 4)
        self.assertEqual(len(self.files()), 2)


class PlaceTests(ServerCase):
    """D64: every homeserver's own datastores count, and the kinds."""

    def write_config(self, cs_api: str) -> None:
        def store(name: str, *kinds: str) -> dict[str, Any]:
            path = str(self.folder / name)
            opts = {"path": path}
            return {"type": "file", "id": name, "forKinds": kinds, "opts": opts}

        main = [
            store("local", "local_media", "thumbnails"),
            store("remote", "remote_media"),
        ]
        homeserver = {"csApi": cs_api, "backoffAt": 10}
        self.config = {  # type: ignore[misc]
            "datastores": main,
            "homeservers": [
                {"name": HOST, **homeserver},
                {
                    "name": OTHER,
                    **homeserver,
                    "datastores": [
                        store("others", "local_media", "thumbnails"),
                        main[1],
                    ],
                },
            ],
        }
        super().write_config(cs_api)

    async def test_media_goes_where_an_upload_or_a_fetch_would(self) -> None:
        async def place_of(**values: Any) -> str:
            item = media(**values)
            data = repr(values).encode()
            [outcome] = await self.server.adoptions.adopt_small([(item, data)])
            self.assertEqual(outcome.adoption, Adoption.STORED)
            found = await self.server.stores.media.get_media(item.origin, item.media_id)
            assert found is not None
            return found.datastore_id

        for values, place in (
            ({"media_id": "a"}, "local"),
            ({"media_id": "b", "user_id": ""}, "local"),
            ({"origin": OTHER, "user_id": f"@b:{OTHER}"}, "others"),
            ({"origin": FAR, "user_id": ""}, "remote"),
            ({"media_id": "c", "origin": FAR, "user_id": f"@c:{FAR}"}, "remote"),
        ):
            self.assertEqual(await place_of(**values), place, values)


class BucketTests(ServerCase):
    """An object store takes one object at a time."""

    def write_config(self, cs_api: str) -> None:
        self.config = {  # type: ignore[misc]
            "datastores": [
                {
                    "type": "s3",
                    "id": "bucket",
                    "forKinds": ["all"],
                    "opts": bucket_options(new_bucket()),
                }
            ]
        }
        super().write_config(cs_api)

    async def test_many_small_and_some_large(self) -> None:
        files = {f"s{n}": b"small %d" % n for n in range(30)}
        files |= {f"l{n}": os.urandom(400_000) for n in range(3)}

        async def adopt(media_id: str, data: bytes) -> AdoptOutcome:
            item = media(media_id)
            return await self.server.adoptions.adopt(item, pieces(data))

        outcomes = await gatherResults(
            [Deferred.fromCoroutine(adopt(*each)) for each in files.items()]
        )
        self.assertEqual({each.adoption for each in outcomes}, {Adoption.STORED})
        for media_id, data in files.items():
            self.assertEqual((await self.download(media_id)).body, data)
        again = await self.server.adoptions.adopt_small(
            [(media("s1", expected_bytes=7), b"small 1"), (media("new"), b"small 1")]
        )
        self.assertEqual(
            [each.adoption for each in again], [Adoption.KNOWN, Adoption.STORED]
        )
        self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_an_object_that_is_there_is_taken_over(self) -> None:
        """No byte is copied; what isn't as announced is not believed."""
        await self.server.adoptions.adopt(media("first"), pieces(b"content"))
        record = await self.record("first")
        bucket = self.server.datastores.get("bucket")

        async def take(location: str, **values: Any) -> AdoptOutcome:
            item = AdoptedMedia(
                origin=HOST,
                content_type="text/plain",
                creation_ts=5,
                user_id=ALICE,
                **values,
            )
            return await self.server.adoptions.adopt_located(item, bucket, location)

        stored = await take(
            record.location, media_id="second", expected_sha256=record.sha256_hash
        )
        self.assertEqual(stored, AdoptOutcome(Adoption.STORED, 7))
        self.assertEqual((await self.record("second")).location, record.location)
        self.assertEqual((await self.download("second")).body, b"content")
        for location, values, adoption in (
            (record.location, {"media_id": "x", "expected_bytes": 6}, "damaged"),
            (
                record.location,
                {"media_id": "x", "expected_sha256": "0" * 64},
                "damaged",
            ),
            ("ab/cd/none", {"media_id": "x"}, "damaged"),
            ("../x", {"media_id": "x"}, "damaged"),
            (record.location, {"media_id": "../x"}, "refused"),
            (record.location, {"media_id": "first"}, "known"),
        ):
            outcome = await take(location, **values)
            self.assertEqual(outcome.adoption.value, adoption, values)
        await self.quarantine("first")
        outcome = await take(record.location, media_id="third")
        self.assertEqual(outcome.adoption, Adoption.REFUSED)

    async def test_an_object_that_is_about_to_go_is_not_taken(self) -> None:
        """R101."""
        await self.server.adoptions.adopt(media("first"), pieces(b"content"))
        record = await self.record("first")
        delete = self.server.stores.media.delete_media_txn
        await self.server.db.interaction("d", delete, HOST, "first")
        outcome = await self.server.adoptions.adopt_located(
            media("second"), self.server.datastores.get("bucket"), record.location
        )
        self.assertEqual(outcome.adoption, Adoption.DAMAGED)
        self.assertIn("about to be deleted", outcome.detail)
