"""Room media, media by id, media of users, statistics (synapse-internals.md §3.1)."""

from __future__ import annotations

from typing import Any

from tests.harness import ALICE, BOB, HOST, SHARED_SECRET, png
from tests.rest.synapse_admin.case import FAR, SynapseAdminCase

_USER_KEYS = {
    "media_id",
    "media_type",
    "media_length",
    "upload_name",
    "created_ts",
    "url_cache",
    "last_access_ts",
    "quarantined_by",
    "authenticated",
    "safe_from_quarantine",
    "user_id",
    "sha256",
}


class MediaInfoTests(SynapseAdminCase):
    async def test_local_media(self) -> None:
        picture = png()
        media_id = await self.upload(picture, filename="cat.png")

        answer = await self.ask("GET", f"/media/{HOST}/{media_id}")

        info = answer.pop("media_info")
        self.assertEqual(answer, {})
        self.assertEqual(set(info), _USER_KEYS | {"media_origin", "filesystem_id"})
        record = await self.record(media_id)
        expected = {
            "media_origin": None,
            "filesystem_id": None,
            "user_id": ALICE,
            "media_id": media_id,
            "media_type": "image/png",
            "media_length": len(picture),
            "upload_name": "cat.png",
            "created_ts": record.creation_ts,
            "url_cache": None,
            "quarantined_by": None,
            "authenticated": True,
            "safe_from_quarantine": False,
            "sha256": record.sha256_hash,
        }
        self.assertEqual({**info, **expected}, info)
        self.assertIsInstance(info["last_access_ts"], int)

    async def test_remote_media(self) -> None:
        await self.fetched("abc", b"far away")
        info = (await self.ask("GET", f"/media/{FAR}/abc"))["media_info"]
        self.assertEqual(info["media_origin"], FAR)
        self.assertEqual(info["media_length"], 8)
        self.assertTrue(info["filesystem_id"])
        for key in ("user_id", "url_cache", "safe_from_quarantine"):
            self.assertIsNone(info[key], key)

    async def test_unknown_media_is_not_fetched(self) -> None:
        for origin in (HOST, FAR):
            answer = await self.call("GET", f"/media/{origin}/nothing")
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")
            self.assertEqual(answer.json["error"], "Unknown media")

    async def test_a_homeserver_admin_sees_the_own_server_only(self) -> None:
        """R48."""
        media_id = await self.upload(png())
        await self.fetched("abc", b"far away")
        await self.ask("GET", f"/media/{HOST}/{media_id}", "local-token")
        answer = await self.call("GET", f"/media/{FAR}/abc", "local-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))


class RoomMediaTests(SynapseAdminCase):
    ROOM = "/room/!room%3Amedia.example/media"

    async def test_the_homeserver_is_asked(self) -> None:
        media = {"local": [f"mxc://{HOST}/a"], "remote": [f"mxc://{FAR}/b"]}
        self.homeserver.room_media["!room:media.example"] = media
        self.assertEqual(await self.ask("GET", self.ROOM, "local-token"), media)
        answer = await self.call("GET", "/room/!other/media", "local-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))

    async def test_the_homeserver_has_the_last_word(self) -> None:
        """Even for repository admins: it is their token that asks."""
        for token in ("admin-token", SHARED_SECRET, "alice-token"):
            answer = await self.call("GET", self.ROOM, token)
            self.assertEqual(answer.status, 403, token)
            self.assertEqual(answer.json["errcode"], "M_FORBIDDEN")


class UserMediaTests(SynapseAdminCase):
    async def listed(self, query: str = "", token: str = "admin-token") -> Any:
        return await self.ask("GET", f"/users/{ALICE}/media{query}", token)

    async def three(self) -> list[str]:
        ids = [await self.upload(png(40 + n, 40), filename=f"{n}") for n in range(3)]
        for number, media_id in enumerate(ids):
            await self.last_access(media_id, 1_700_000_000_000 + number)
        await self.upload(png(100, 100), token="bob-token")
        return ids

    async def test_newest_first_with_all_keys(self) -> None:
        ids = await self.three()
        for token in ("admin-token", "local-token", SHARED_SECRET):
            answer = await self.listed(token=token)
            self.assertEqual(set(answer), {"media", "total"})
            self.assertEqual(answer["total"], 3)
            self.assertEqual([m["media_id"] for m in answer["media"]], ids[::-1])
            self.assertEqual(set(answer["media"][0]), _USER_KEYS)

    async def test_order_and_direction(self) -> None:
        ids = await self.three()
        for query, expected in (
            ("?order_by=created_ts", ids),
            ("?dir=f", ids),
            ("?dir=b", ids[::-1]),
            ("?order_by=upload_name&dir=b", ids[::-1]),
            ("?order_by=media_id", sorted(ids)),
            ("?order_by=media_type", sorted(ids)),
            ("?order_by=media_type&dir=b", sorted(ids)),
            ("?order_by=safe_from_quarantine", sorted(ids)),
            ("?order_by=quarantined_by&dir=b", sorted(ids)),
            ("?order_by=last_access_ts", ids),
        ):
            answer = await self.listed(query)
            found = [media["media_id"] for media in answer["media"]]
            self.assertEqual(found, expected, query)

    async def test_pages(self) -> None:
        ids = await self.three()
        first = await self.listed("?limit=2&dir=f")
        self.assertEqual([m["media_id"] for m in first["media"]], ids[:2])
        self.assertEqual((first["next_token"], first["total"]), (2, 3))
        last = await self.listed(f"?limit=2&dir=f&from={first['next_token']}")
        self.assertEqual([m["media_id"] for m in last["media"]], ids[2:])
        self.assertNotIn("next_token", last)
        beyond = await self.listed("?from=50")
        self.assertEqual(beyond, {"media": [], "total": 3})

    async def test_quarantine_and_protection_show(self) -> None:
        media_id = await self.upload(png())
        await self.ask("POST", f"/media/quarantine/{HOST}/{media_id}")
        [media] = (await self.listed())["media"]
        self.assertEqual(media["quarantined_by"], "system")
        await self.ask("POST", f"/media/protect/{media_id}")
        [media] = (await self.listed())["media"]
        self.assertIs(media["safe_from_quarantine"], True)
        self.assertIsNone(media["upload_name"])

    async def test_other_servers_users_and_nonsense(self) -> None:
        for user in ("@x:far.example", "nobody", "@alice"):
            answer = await self.call("GET", f"/users/{user}/media")
            self.assertEqual(answer.status, 400, user)
        self.assertEqual(
            await self.ask("GET", f"/users/{BOB}/media"),
            {
                "media": [],
                "total": 0,
            },
        )

    async def test_users_whom_the_homeserver_does_not_know(self) -> None:
        """As far as it tells: to admins of its own."""
        path = f"/users/@nobody:{HOST}/media"
        empty = {"media": [], "total": 0}
        for method in ("GET", "DELETE"):
            answer = await self.call(method, path, "local-token")
            self.assertEqual(
                (answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND")
            )
        for token in ("admin-token", SHARED_SECRET):
            self.assertEqual(await self.ask("GET", path, token), empty)
        path = f"/users/{BOB}/media"
        self.assertEqual(await self.ask("GET", path, "local-token"), empty)

    async def test_wrong_parameters(self) -> None:
        for query in (
            "from=-1",
            "from=x",
            "limit=-1",
            "limit=1e9",
            "limit=9999999999999999999",
            "order_by=size",
            "dir=up",
        ):
            answer = await self.call("GET", f"/users/{ALICE}/media?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertEqual(answer.json["errcode"], "M_INVALID_PARAM", query)
        huge = await self.listed("?limit=999999999999999999")
        self.assertEqual(huge["total"], 0)


class StatisticsTests(SynapseAdminCase):
    PATH = "/statistics/users/media"

    async def setUp(self) -> None:
        await super().setUp()
        for size in (40, 41):
            await self.upload(b"a" * size, "text/plain")
        await self.upload(b"b" * 1000, "text/plain", token="bob-token")
        await self.fetched("abc", b"far away")

    async def users(self, query: str = "") -> list[str]:
        return [
            u["user_id"] for u in (await self.ask("GET", self.PATH + query))["users"]
        ]

    async def test_counts_and_bytes(self) -> None:
        for token in ("admin-token", "local-token"):
            answer = await self.ask("GET", self.PATH, token)
            self.assertEqual(set(answer), {"users", "total"})
            self.assertEqual(answer["total"], 2)
            self.assertEqual(
                answer["users"][0],
                {
                    "user_id": ALICE,
                    "displayname": ALICE,
                    "media_count": 2,
                    "media_length": 81,
                },
            )

    async def test_orders_pages_and_filters(self) -> None:
        for query, expected in (
            ("?order_by=media_length&dir=b", [BOB, ALICE]),
            ("?order_by=media_count", [BOB, ALICE]),
            ("?order_by=displayname&dir=b", [BOB, ALICE]),
            ("?search_term=LIC", [ALICE]),
            ("?search_term=media.example", []),
            ("?search_term=%25", []),
            ("?from_ts=99999999999999", []),
            ("?until_ts=1", []),
            ("?from=1", [BOB]),
        ):
            self.assertEqual(await self.users(query), expected, query)
        page = await self.ask("GET", self.PATH + "?limit=1")
        self.assertEqual((page["next_token"], page["total"]), (1, 2))

    async def test_both_ends_of_a_time_are_included(self) -> None:
        media_id = await self.upload(b"c" * 50, "text/plain", token="bob-token")
        await self.last_access(media_id, 1_600_000_000_000)
        for query, expected in (
            ("?from_ts=1600000000000&until_ts=1600000000001", [BOB]),
            ("?from_ts=1599999999999&until_ts=1600000000000", [BOB]),
            ("?from_ts=1600000000001&until_ts=1600000000002", []),
            ("?from_ts=1599999999998&until_ts=1599999999999", []),
        ):
            self.assertEqual(await self.users(query), expected, query)

    async def test_wrong_parameters(self) -> None:
        for query in (
            "order_by=name",
            "dir=x",
            "from=-1",
            "limit=x",
            "from_ts=-1",
            "until_ts=5&from_ts=5",
            "search_term=",
        ):
            answer = await self.call("GET", f"{self.PATH}?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertEqual(answer.json["errcode"], "M_INVALID_PARAM", query)
