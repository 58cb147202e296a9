"""Usage, attributes, audit log and local copies over HTTP (§8.8, §11.6, §11.10)."""

from __future__ import annotations

from typing import ClassVar

from tests.harness import ALICE, BOB, HOST, png
from tests.rest.admin.case import MEDIA, AdminCase


class UsageTests(AdminCase):
    async def test_a_server_counts_every_record(self) -> None:
        media_id = await self.upload(png())
        await self.upload(png(), token="bob-token")
        await self.thumbnail(media_id, "width=32&height=32&method=crop")
        thumbnails = await self.server.stores.thumbnails.get_thumbnails_of(
            HOST, media_id
        )
        size, thumbnail_size = len(png()), thumbnails[0].size_bytes
        answer = await self.read(f"usage/{HOST}")
        self.assertEqual(
            answer.json,
            {
                "raw_bytes": {
                    "total": 2 * size + thumbnail_size,
                    "media": 2 * size,
                    "thumbnails": thumbnail_size,
                },
                "raw_counts": {"total": 3, "media": 2, "thumbnails": 1},
            },
        )
        empty = await self.read("usage/remote.example")
        self.assertEqual(empty.json["raw_counts"]["total"], 0)

    async def test_users_and_what_they_uploaded(self) -> None:
        first, second = await self.upload(png()), await self.upload(png(color="blue"))
        await self.upload(png(), token="bob-token")
        answer = await self.read(f"usage/{HOST}/users?user_id={ALICE}&user_id=@no:one")
        [user] = answer.json
        self.assertEqual(user, ALICE)
        self.assertEqual(answer.json[ALICE]["raw_counts"], {"total": 2, "media": 2})
        self.assertEqual(
            answer.json[ALICE]["uploaded"],
            [f"mxc://{HOST}/{first}", f"mxc://{HOST}/{second}"],
        )
        everybody = await self.read(f"usage/{HOST}/users")
        self.assertEqual(set(everybody.json), {ALICE, BOB})
        self.assertEqual((await self.read("usage/remote.example/users")).json, {})

    async def test_uploads(self) -> None:
        media_id = await self.upload(png(), filename="%3Ca%26b%3E.png")
        other = await self.upload(png(color="blue"))
        record = await self.record(media_id)
        uri = f"mxc://{HOST}/{media_id}"
        answer = await self.read(f"usage/{HOST}/uploads?mxc={uri}")
        self.assertNotIn(b"<", answer.body)
        self.assertEqual(
            answer.json,
            {
                uri: {
                    "size_bytes": len(png()),
                    "uploaded_by": ALICE,
                    "datastore_id": "folder",
                    "datastore_location": record.location,
                    "sha256_hash": record.sha256_hash,
                    "quarantined": False,
                    "upload_name": "<a&b>.png",
                    "content_type": "image/png",
                    "created_ts": record.creation_ts,
                }
            },
        )
        everything = await self.read(f"usage/{HOST}/uploads")
        self.assertEqual(set(everything.json), {uri, f"mxc://{HOST}/{other}"})
        for bad in ("mxc://remote.example/abc", "nonsense"):
            answer = await self.read(f"usage/{HOST}/uploads?mxc={bad}")
            self.assertEqual(answer.status, 400)

    async def test_long_lists_come_whole(self) -> None:
        media_id = await self.upload(png())
        await self.insert_copies(media_id, 1200)
        answer = await self.read(f"usage/{HOST}/uploads")
        self.assertEqual(len(answer.json), 1201)
        answer = await self.read(f"usage/{HOST}/users")
        self.assertEqual(len(answer.json[ALICE]["uploaded"]), 1201)

    async def insert_copies(self, media_id: str, count: int) -> None:
        values = ", ".join(f"('copy{number}')" for number in range(count))
        await self.execute(
            "INSERT INTO media SELECT m.origin, c.column1, m.upload_name,"
            " m.content_type, m.user_id, m.sha256_hash, m.size_bytes, m.location,"
            " m.creation_ts, m.quarantined, m.datastore_id FROM media AS m,"
            f" (VALUES {values}) AS c WHERE m.media_id = '{media_id}'"
        )

    async def test_users_stats_in_pages(self) -> None:
        for color in ("red", "blue"):
            await self.upload(png(color=color))
        await self.upload(png(200, 200), token="bob-token")
        path = f"usage/{HOST}/users-stats"
        answer = await self.read(path, token="carol-token")
        self.assertEqual([u["user_id"] for u in answer.json["users"]], [ALICE, BOB])
        self.assertEqual(answer.json["total"], 2)
        self.assertNotIn("next_token", answer.json)
        [first] = (await self.read(f"{path}?limit=1&dir=b")).json["users"]
        self.assertEqual((first["user_id"], first["displayname"]), (BOB, BOB))
        answer = await self.read(f"{path}?limit=1&order_by=media_count&dir=b")
        self.assertEqual(answer.json["users"][0]["user_id"], ALICE)
        self.assertEqual(answer.json["users"][0]["media_count"], 2)
        token = answer.json["next_token"]
        answer = await self.read(f"{path}?from={token}&order_by=media_count&dir=b")
        self.assertEqual(answer.json["users"][0]["user_id"], BOB)
        for query, users in (
            ("search_term=LIC", [ALICE]),
            ("search_term=media", []),
            ("search_term=%25", []),
            ("search_term=_lice", []),
            ("until_ts=1500000000000", []),
            ("from_ts=1500000000000", [ALICE, BOB]),
            ("limit=0", []),
        ):
            answer = await self.read(f"{path}?{query}")
            found = [user["user_id"] for user in answer.json["users"]]
            self.assertEqual(found, users, query)

    async def test_users_stats_refuses_what_it_can_not_read(self) -> None:
        for query in (
            "order_by=size",
            "dir=up",
            "from=-1",
            "limit=x",
            "from_ts=-5",
            "until_ts=5&from_ts=5",
            "search_term=",
        ):
            answer = await self.read(f"usage/{HOST}/users-stats?{query}")
            self.assertEqual(answer.status, 400, query)
            name = query.partition("=")[0]
            self.assertIn(f"Query parameter '{name}'", answer.json["error"])

    async def test_attributes(self) -> None:
        media_id = await self.upload(png())
        path = f"media/{HOST}/{media_id}/attributes"
        self.assertEqual((await self.read(path)).json, {"purpose": "none"})
        for end in ("", "/set"):
            answer = await self.post(path + end, body=b'{"purpose": "pinned"}')
            self.assertEqual(answer.json, {"purpose": "pinned"})
        self.assertEqual((await self.read(path)).json, {"purpose": "pinned"})
        for body in (b'{"purpose": "gone"}', b"{}", b"[", b'{"purpose": []}'):
            self.assertEqual((await self.post(path, body=body)).status, 400, body)
        answer = await self.read(f"media/{HOST}/nothing/attributes")
        self.assertEqual(answer.status, 404)

    async def test_the_audit_log_in_pages(self) -> None:
        media_id = await self.upload(png())
        path = f"media/{HOST}/{media_id}/attributes"
        for purpose in ("pinned", "none", "pinned", "none", "pinned"):
            body = b'{"purpose": "%s"}' % purpose.encode()
            await self.post(f"{path}?reason=why", body=body)
        seen, start = [], ""
        while True:
            page = (await self.read(f"audit?limit=2{start}")).json
            seen += [entry["id"] for entry in page["entries"]]
            if "next" not in page:
                break
            start = f"&from={page['next']}"
        self.assertEqual(seen, [5, 4, 3, 2, 1])
        answer = await self.read("audit?action=set_purpose_none")
        self.assertEqual([e["id"] for e in answer.json["entries"]], [4, 2])
        self.assertEqual(
            answer.json["entries"][0]["target"], f"mxc://{HOST}/{media_id}"
        )
        for query in ("actor=@admin:media.example", f"target=mxc://{HOST}/{media_id}"):
            answer = await self.read(f"audit?{query}")
            self.assertEqual(len(answer.json["entries"]), 5, query)
        for query in ("limit=0", "limit=x", "from=-1"):
            self.assertEqual((await self.read(f"audit?{query}")).status, 400)

    async def test_a_local_copy_is_media_of_the_caller(self) -> None:
        """Also of frozen media (D11), but not of quarantined media (R86)."""
        media_id = await self.upload(png(), filename="a.png")
        await self.insert_remote(media_id)
        path = f"{MEDIA}/local_copy/remote.example/{media_id}"
        answer = await self.get(path, token="bob-token")
        copy = answer.json["content_uri"].rpartition("/")[2]
        record = await self.record(copy)
        self.assertEqual((record.user_id, record.upload_name), (BOB, "a.png"))
        self.assertEqual((await self.download(copy)).body, png())
        self.assertEqual(len(await self.objects()), 1)
        again = await self.get(path, token="bob-token")
        self.assertEqual(again.json, answer.json)
        answer = await self.get(f"{MEDIA}/local_copy/{HOST}/{copy}")
        self.assertEqual(answer.status, 400)
        await self.post(f"quarantine/{HOST}/{copy}")
        self.assertEqual((await self.get(path)).status, 404)


class PostgresUsageTests(UsageTests):
    engine: ClassVar[str] = "postgres"
