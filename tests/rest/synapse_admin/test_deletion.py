"""Deletion at Synapse's paths (synapse-internals.md §3.3)."""

from __future__ import annotations

from tests.harness import ALICE, HOST, SHARED_SECRET, png
from tests.rest.synapse_admin.case import DAY_MS, FAR, SynapseAdminCase

OLD = 1_700_000_000_000
BEFORE = OLD + DAY_MS
USERS = "/_synapse/admin/v2/users?deactivated=true&guests=true&limit=500&from="


class DeleteOneTests(SynapseAdminCase):
    async def test_record_and_object_go(self) -> None:
        for token in ("admin-token", "local-token"):
            media_id = await self.upload(png())
            answer = await self.ask("DELETE", f"/media/{HOST}/{media_id}", token)
            self.assertEqual(answer, {"deleted_media": [media_id], "total": 1})
            self.assertFalse(await self.exists(media_id))
            self.assertEqual((await self.download(media_id)).status, 404)
            await self.server.sweep.delete_queued()
            self.assertEqual(self.files(), [])

    async def test_unknown_and_remote_media(self) -> None:
        await self.fetched("abc", b"far away")
        answer = await self.call("DELETE", f"/media/{HOST}/nothing")
        self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))
        answer = await self.call("DELETE", f"/media/{FAR}/abc")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json["error"], "Can only delete local media")
        self.assertTrue(await self.exists("abc", FAR))

    async def test_protected_media_stays(self) -> None:
        media_id = await self.upload(png())
        await self.ask("POST", f"/media/protect/{media_id}")
        answer = await self.ask("DELETE", f"/media/{HOST}/{media_id}")
        self.assertEqual(answer, {"deleted_media": [], "total": 0})
        self.assertTrue(await self.exists(media_id))


class DeleteOldTests(SynapseAdminCase):
    async def old(self, number: int = 0) -> str:
        media_id = await self.upload(png(60 + number, 60))
        await self.last_access(media_id, OLD)
        return media_id

    async def delete(self, query: str, path: str = "/media/delete") -> list[str]:
        answer = await self.ask(
            "POST", f"{path}?before_ts={BEFORE}{query}", "local-token"
        )
        self.assertEqual(len(answer["deleted_media"]), answer["total"])
        return sorted(answer["deleted_media"])

    async def test_by_last_access_at_both_paths(self) -> None:
        await self.fetched("abc", b"far away", creation_ts=OLD)
        await self.last_access("abc", OLD, FAR)
        new = await self.upload(png(90, 90))
        for path in ("/media/delete", f"/media/{HOST}/delete"):
            old = await self.old()
            self.assertEqual(await self.delete("&keep_profiles=false", path), [old])
            self.assertTrue(await self.exists(new))
            self.assertTrue(await self.exists("abc", FAR))

    async def test_what_is_larger_only(self) -> None:
        media_id = await self.old()
        size = (await self.record(media_id)).size_bytes
        self.assertEqual(await self.delete(f"&keep_profiles=false&size_gt={size}"), [])
        query = f"&keep_profiles=false&size_gt={size - 1}"
        self.assertEqual(await self.delete(query), [media_id])

    async def test_quarantined_and_protected_media_stay(self) -> None:
        bad, safe, plain = [await self.old(n) for n in range(3)]
        await self.ask("POST", f"/media/quarantine/{HOST}/{bad}")
        await self.ask("POST", f"/media/protect/{safe}")
        self.assertEqual(await self.delete("&keep_profiles=false"), [plain])

    async def test_profile_pictures_stay_by_default(self) -> None:
        """The homeserver knows them, page by page."""
        face, door, plain, paged = [await self.old(n) for n in range(4)]
        rooms = "/_synapse/admin/v1/rooms"
        self.homeserver.admin_pages = {
            f"{USERS}0": {
                "users": [{"avatar_url": f"mxc://{HOST}/{face}"}, {"avatar_url": None}],
                "next_token": "500",
            },
            f"{USERS}500": {"users": [{"avatar_url": f"mxc://{HOST}/{paged}"}]},
            f"{rooms}?limit=500&from=0": {"rooms": [{"room_id": "!a/b:x"}]},
            f"{rooms}/%21a%2Fb%3Ax": {"avatar": f"mxc://{HOST}/{door}"},
        }
        self.assertEqual(await self.delete(""), [plain])
        self.assertEqual(
            await self.delete("&keep_profiles=false"), sorted([face, door, paged])
        )

    async def test_strange_answers_of_the_homeserver_come_to_an_end(self) -> None:
        """Pages that lead back, and pictures that are none."""
        media_id = await self.old()
        self.homeserver.admin_pages = {
            f"{USERS}0": {"users": ["x", {"avatar_url": 7}], "next_token": "1"},
            f"{USERS}1": {"users": None, "next_token": "0"},
            "/_synapse/admin/v1/rooms?limit=500&from=0": {
                "rooms": [],
                "next_batch": -1,
            },
        }
        self.assertEqual(await self.delete(""), [media_id])

    async def test_nothing_goes_when_the_homeserver_can_not_tell(self) -> None:
        media_id = await self.old()
        path = f"/media/delete?before_ts={BEFORE}"
        answer = await self.call("POST", path, SHARED_SECRET)
        self.assertEqual(answer.status, 400)
        self.assertIn("keep_profiles=false", answer.json["error"])
        answer = await self.call("POST", path, "admin-token")
        self.assertEqual(answer.status, 403)
        self.homeserver.admin_pages = {f"{USERS}0": 503}
        answer = await self.call("POST", path, "local-token")
        self.assertEqual(answer.status, 502)
        self.assertTrue(await self.exists(media_id))

    async def test_wrong_parameters(self) -> None:
        for query, errcode in (
            ("", "M_MISSING_PARAM"),
            ("before_ts=x", "M_INVALID_PARAM"),
            ("before_ts=-1", "M_INVALID_PARAM"),
            ("before_ts=1700000000", "M_INVALID_PARAM"),
            (f"before_ts={BEFORE}&size_gt=-1", "M_INVALID_PARAM"),
            (f"before_ts={BEFORE}&keep_profiles=maybe", "M_INVALID_PARAM"),
        ):
            answer = await self.call("POST", f"/media/delete?{query}")
            self.assertEqual((answer.status, answer.json["errcode"]), (400, errcode))
        answer = await self.call("POST", "/media/delete?before_ts=1700000000")
        self.assertIn("did you mean 1700000000000", answer.json["error"])


class DeleteOfUserTests(SynapseAdminCase):
    async def test_a_page_the_newest_first(self) -> None:
        ids = [await self.upload(png(40 + n, 40)) for n in range(3)]
        for number, media_id in enumerate(ids):
            await self.last_access(media_id, OLD + number)
        other = await self.upload(png(90, 90), token="bob-token")

        answer = await self.ask("DELETE", f"/users/{ALICE}/media?limit=2")
        self.assertEqual(answer, {"deleted_media": ids[:0:-1], "total": 2})
        answer = await self.ask("DELETE", f"/users/{ALICE}/media", "local-token")
        self.assertEqual(answer, {"deleted_media": ids[:1], "total": 1})
        self.assertTrue(await self.exists(other))

    async def test_a_page_in_any_order(self) -> None:
        ids = [await self.upload(bytes(size), "a/b") for size in (30, 10, 20)]
        path = f"/users/{ALICE}/media?order_by=media_length&limit=1"
        answer = await self.ask("DELETE", f"{path}&dir=b")
        self.assertEqual(answer["deleted_media"], ids[:1])
        answer = await self.ask("DELETE", f"{path}&dir=f&from=1")
        self.assertEqual(answer["deleted_media"], ids[2:])
        self.assertTrue(await self.exists(ids[1]))

    async def test_other_servers_users(self) -> None:
        answer = await self.call("DELETE", "/users/@x:far.example/media")
        self.assertEqual(answer.status, 400)

    async def test_wrong_parameters(self) -> None:
        media_id = await self.upload(png())
        for query in ("from=-1", "limit=x", "order_by=size", "dir=up"):
            answer = await self.call("DELETE", f"/users/{ALICE}/media?{query}")
            self.assertEqual(
                (answer.status, answer.json["errcode"]), (400, "M_INVALID_PARAM")
            )
        self.assertTrue(await self.exists(media_id))


class PurgeCacheTests(SynapseAdminCase):
    async def test_remote_media_by_last_access(self) -> None:
        own = await self.upload(png())
        await self.last_access(own, OLD)
        for media_id in ("old", "new", "bad"):
            await self.fetched(media_id, media_id.encode())
        for media_id in ("old", "bad"):
            await self.last_access(media_id, OLD, FAR)
        await self.ask("POST", f"/media/quarantine/{FAR}/bad")

        answer = await self.ask("POST", f"/purge_media_cache?before_ts={BEFORE}")

        self.assertEqual(answer, {"deleted": 1})
        self.assertFalse(await self.exists("old", FAR))
        for media_id in ("new", "bad"):
            self.assertTrue(await self.exists(media_id, FAR))
        self.assertTrue(await self.exists(own))

    async def test_wrong_times(self) -> None:
        for query in ("", "?before_ts=x", "?before_ts=1700000000"):
            answer = await self.call("POST", f"/purge_media_cache{query}")
            self.assertEqual(answer.status, 400, query)

    async def test_homeserver_admins_do_not_empty_the_common_cache(self) -> None:
        """R48."""
        path = f"/purge_media_cache?before_ts={BEFORE}"
        answer = await self.call("POST", path, "local-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))
