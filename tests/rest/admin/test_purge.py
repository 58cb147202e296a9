"""Purging over HTTP (mmr-http-api.md §11.2; R89, R101)."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.harness import ALICE, HOST, png
from tests.rest.admin.case import (
    LOCAL_ADMIN,
    MEDIA,
    ROOM,
    TOKENS,
    AdminCase,
    path_of,
)

_LONG_AGO = 1_500_000_000_000


class PurgeTests(AdminCase):
    async def test_uploaders_delete_their_own(self) -> None:
        media_id = await self.upload(png())
        await self.thumbnail(media_id)
        path = f"{MEDIA}/download/{HOST}/{media_id}"
        with self.assertLogs("mmr.media.audit", "INFO") as logs:
            answer = await self.request("DELETE", path)
        self.assertIn(f"purge by {ALICE}: mxc://{HOST}/{media_id}", logs.output[0])
        self.assertEqual((answer.status, answer.json["purged"]), (200, True))
        self.assertEqual((await self.download(media_id)).status, 404)
        self.assertEqual(await self.count("thumbnails"), 0)
        self.assertEqual(await self.count("reserved_media"), 1)
        self.assertEqual(await self.objects(), set())
        # It writes no rows that stay, and asks no homeserver who is an admin (D34).
        self.assertEqual(await self.count("mmr_admin_audit"), 0)
        self.assertFalse([s for s in self.homeserver.requests if "whois" in s.path])

    async def test_unknown_media_is_purged_already(self) -> None:
        for token in ("alice-token", "admin-token"):
            answer = await self.post(f"purge/{HOST}/nothing", token=token)
            self.assertEqual((answer.status, answer.json["media"]), (200, 0))

    async def test_uploaders_can_not_clear_evidence_away(self) -> None:
        media_id = await self.upload(png())
        await self.post(f"quarantine/{HOST}/{media_id}")
        path = f"{MEDIA}/download/{HOST}/{media_id}"
        self.assertEqual((await self.request("DELETE", path)).status, 403)
        self.assertEqual(len(await self.objects()), 1)

    async def test_shared_objects_stay_until_nobody_needs_them(self) -> None:
        mine = await self.upload(png())
        others = await self.upload(png(), token="bob-token")
        answer = await self.post(f"purge/{HOST}/{mine}")
        self.assertEqual((answer.json["media"], answer.json["bytes"]), (1, 0))
        self.assertEqual((await self.download(others)).status, 200)
        answer = await self.post(f"purge/{HOST}/{others}")
        self.assertEqual(answer.json["bytes"], len(png()))
        self.assertEqual(await self.objects(), set())

    async def test_all_of_a_user(self) -> None:
        for color in ("red", "green", "blue"):
            await self.thumbnail(await self.upload(png(color=color)))
        bobs = await self.upload(png(color="pink"), token="bob-token")
        dry = await self.post(f"purge/user/{path_of(ALICE)}?dry_run=true")
        self.assertEqual(await self.count("media"), 4)
        self.assertIs(dry.json["dry_run"], True)
        self.assertIs(dry.json["purged"], False)
        answer = await self.post(f"purge/user/{path_of(ALICE)}", token="carol-token")
        self.assertEqual(len(answer.json["affected"]), 3)
        for key in ("media", "thumbnails", "bytes", "affected"):
            self.assertEqual(answer.json[key], dry.json[key], key)
        self.assertEqual((await self.download(bobs)).status, 200)
        await self.check_consistent()

    async def test_a_time_in_seconds_or_microseconds_is_refused(self) -> None:
        await self.upload(png())
        for path in ("purge/old", "purge/remote", f"purge/user/{path_of(ALICE)}"):
            for before_ts in ("1700000000", "1700000000000000", "soon"):
                answer = await self.post(f"{path}?before_ts={before_ts}")
                self.assertEqual(answer.status, 400, answer)
        answer = await self.post("purge/old?before_ts=1700000000&include_local=true")
        self.assertIn("1700000000000", answer.json["error"])
        self.assertEqual(await self.count("media"), 1)

    async def test_remote_media_is_purged_by_age(self) -> None:
        """Not what is quarantined, nor what shares its content with ours."""
        ids = [await self.upload(png(color=c)) for c in ("red", "green", "blue")]
        for media_id in ids:
            await self.insert_remote(media_id, creation_ts=_LONG_AGO)
        await self.upload(png(color="green"))
        await self.execute(
            "UPDATE media SET quarantined = ? WHERE media_id = ?", (True, ids[2])
        )
        path = f"purge/remote?before_ts={_LONG_AGO}"
        self.assertEqual((await self.post(path)).json["total_removed"], 0)
        path = f"purge/remote?before_ts={_LONG_AGO + 1}"
        self.assertEqual((await self.post(path)).json["total_removed"], 1)
        self.assertEqual(await self.count("media"), 3)
        self.assertEqual(await self.count("reserved_media"), 0)
        await self.check_consistent()
        self.assertEqual((await self.post("purge/remote")).status, 400)
        path = "/_matrix/client/unstable/admin/purge_media_cache?before_ts=0"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.json["total_removed"], 0)

    async def test_old_media_is_what_nobody_asks_for(self) -> None:
        """By last access, though the record is old (D23)."""
        used, unused = await self.upload(png()), await self.upload(png(color="blue"))
        local = await self.upload(png(color="green"))
        for media_id in (used, unused):
            await self.insert_remote(media_id, creation_ts=_LONG_AGO)
        await self.execute(
            "UPDATE last_access SET last_access_ts = ? WHERE sha256_hash ="
            " (SELECT sha256_hash FROM media WHERE media_id = ?)",
            (_LONG_AGO, unused),
        )
        path = f"purge/old?before_ts={_LONG_AGO + 1}"
        answer = await self.post(path)
        self.assertEqual(answer.json["affected"], [f"mxc://remote.example/{unused}"])
        answer = await self.post("purge/old?include_local=true")
        self.assertEqual(
            set(answer.json["affected"]),
            {f"mxc://remote.example/{used}", f"mxc://{HOST}/{local}"},
        )
        self.assertEqual(await self.objects(), set())

    async def test_pinned_media_is_skipped_and_listed(self) -> None:
        pinned, other = await self.upload(png()), await self.upload(png(color="blue"))
        await self.post(
            f"media/{HOST}/{pinned}/attributes", body=b'{"purpose": "pinned"}'
        )
        for query in ("?dry_run=true", ""):
            answer = await self.post(f"purge/server/{HOST}{query}")
            self.assertEqual(answer.json["affected"], [f"mxc://{HOST}/{other}"])
            self.assertEqual(
                answer.json["skipped"],
                [{"mxc": f"mxc://{HOST}/{pinned}", "reason": "pinned"}],
            )
        self.assertEqual((await self.download(pinned)).status, 200)

    async def test_purging_keeps_the_hash_blocked(self) -> None:
        """And a quarantined remote copy is not fetched again (R89)."""
        media_id = await self.upload(png())
        await self.insert_remote(media_id)
        await self.post(f"quarantine/remote.example/{media_id}")
        answer = await self.post("purge/quarantined")
        self.assertEqual((answer.json["media"], answer.json["bytes"]), (1, len(png())))
        self.assertEqual(await self.objects(), set())
        self.assertEqual(await self.count("media"), 1)
        path = f"/_matrix/client/v1/media/download/remote.example/{media_id}"
        self.assertEqual((await self.get(path)).status, 404)
        again = await self.request("POST", "/_matrix/media/v3/upload", body=png())
        self.assertEqual(again.status, 403)
        # There is nothing left to purge, and nothing to release but the hash.
        self.assertEqual((await self.post("purge/quarantined")).json["media"], 0)
        answer = await self.post(f"unquarantine/remote.example/{media_id}")
        self.assertEqual(answer.json["skipped"][0]["reason"], "purged")
        await self.upload(png())
        await self.check_consistent()

    async def test_a_room_by_the_list_of_the_homeserver(self) -> None:
        """The room's id reaches the homeserver as one segment (R76)."""
        local, remote = await self.upload(png()), await self.upload(png(color="blue"))
        await self.insert_remote(remote)
        mxcs = [f"mxc://{HOST}/{local}", f"mxc://remote.example/{remote}"]
        self.homeserver.room_media[ROOM] = {
            "local": [mxcs[0], "mxc://what is/this?"],
            "remote": mxcs[1:],
        }
        path = f"purge/room/{path_of(ROOM)}"
        answer = await self.post(f"{path}?before_ts={_LONG_AGO}")
        self.assertEqual(answer.json["affected"], [])
        out_of_reach = [{"mxc": mxcs[1], "reason": "not_permitted"}]
        for affected in (mxcs[:1], []):
            answer = await self.post(path, token="carol-token")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.json["affected"], affected)
            # R89.
            self.assertEqual(answer.json["skipped"], out_of_reach)
            # Nor is it refused when there is nothing else.
            self.homeserver.room_media[ROOM]["local"] = []
        answer = await self.post(path)
        self.assertEqual(answer.json["affected"], mxcs[1:])
        paths = [seen.path for seen in self.homeserver.requests if "room" in seen.path]
        self.assertEqual(set(paths), {f"/_synapse/admin/v1/room/{path_of(ROOM)}/media"})
        answer = await self.post(path, token=TOKENS["shared secret"])
        self.assertEqual(answer.status, 403)

    async def test_all_of_another_server(self) -> None:
        """And of no other; its ids are not ours to reserve."""
        ours, theirs, others = [
            await self.upload(png(color=color)) for color in ("red", "green", "blue")
        ]
        await self.insert_remote(theirs)
        await self.insert_remote(others, "other.example")
        for query in ("?dry_run=true", ""):
            answer = await self.post(f"purge/server/remote.example{query}")
            self.assertEqual(
                answer.json["affected"], [f"mxc://remote.example/{theirs}"]
            )
        self.assertEqual(await self.count("media"), 2)
        self.assertEqual(await self.count("reserved_media"), 0)
        answer = await self.post("quarantine/server/other.example")
        self.assertEqual(answer.json["affected"], [f"mxc://other.example/{others}"])
        self.assertEqual((await self.download(ours)).status, 200)
        await self.check_consistent()

    async def test_it_goes_on_when_the_admin_leaves(self) -> None:
        for number in range(120):
            await self.upload(b"%d" % number, "text/plain")
        wire = await self.wire()
        path = f"{MEDIA}/admin/purge/user/{path_of(ALICE)}"
        wire.send(self.head("POST", path, "Content-Length: 0", token="admin-token"))
        await self.eventually(lambda: self.is_begun())
        wire.abort()
        await self.eventually(self.is_purged)
        await self.check_consistent()

    async def is_begun(self) -> bool:
        return await self.count("mmr_admin_audit") == 1

    async def is_purged(self) -> bool:
        return await self.count("media") == 0

    async def test_a_crash_half_way_leaves_nothing_behind(self) -> None:
        """Neither rows without objects nor objects without rows (R101, D65)."""
        for number in range(120):
            await self.upload(b"%d" % number, "text/plain")
        pictures = [await self.upload(png(color=c)) for c in ("red", "green")]
        for media_id in pictures:
            await self.thumbnail(media_id)
        removal: Any = self.server.stores.removal
        remove, left = removal.remove_txn, [2]

        def crash(*args: Any) -> Any:
            """In the second step, with its rows gone and nothing committed."""
            left[0] -= 1
            removed = remove(*args)
            if not left[0]:
                raise RuntimeError("crash")
            return removed

        removal.remove_txn = crash
        answer = await self.post(f"purge/user/{path_of(ALICE)}")
        self.assertEqual(answer.status, 500)
        self.flushLoggedErrors(RuntimeError)
        removal.remove_txn = remove
        self.assertEqual(await self.count("media"), 122 - 50)
        await self.check_consistent()
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual((entry["affected"], entry["error"]), (50, "RuntimeError"))
        answer = await self.post(f"purge/user/{path_of(ALICE)}")
        self.assertEqual(answer.json["media"], 72)
        self.assertEqual(await self.objects(), set())

    async def test_local_admins_are_kept_to_their_server(self) -> None:
        """By whatever id they name (R48)."""
        media_id = await self.upload(png())
        await self.insert_remote(media_id)
        for path in (
            f"purge/remote.example/{media_id}",
            "purge/server/remote.example",
            "purge/user/%40x%3Aremote.example",
            "purge/remote?before_ts=1700000000000",
            "purge/old",
        ):
            answer = await self.post(path, token="carol-token")
            self.assertEqual(
                (answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN")
            )
        await self.post(f"quarantine/remote.example/{media_id}")
        answer = await self.post("purge/quarantined", token="carol-token")
        self.assertEqual((answer.status, answer.json["affected"]), (200, []))

    async def test_bad_names_are_refused(self) -> None:
        """The patterns are anchored (D33)."""
        for path in ("purge/user/alice", "purge/server/a%20b", "purge/a%20b/c"):
            self.assertEqual((await self.post(path)).status, 400, path)

    async def test_purges_are_logged_with_who_and_why(self) -> None:
        media_id = await self.upload(png())
        with self.assertLogs("mmr.media.audit", "INFO") as logs:
            await self.post(
                f"purge/{HOST}/{media_id}?reason=too%20red", token="carol-token"
            )
        [line] = logs.output
        for part in (LOCAL_ADMIN, "purge", f"mxc://{HOST}/{media_id}", "'too red'"):
            self.assertIn(part, line)
        self.assertIn(f"1 media, {len(png())} bytes", line)
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual(entry["actor"], LOCAL_ADMIN)
        self.assertEqual(entry["action"], "purge")
        self.assertEqual(entry["target"], f"mxc://{HOST}/{media_id}")
        self.assertEqual(entry["reason"], "too red")
        self.assertEqual((entry["affected"], entry["bytes"]), (1, len(png())))
        self.assertGreaterEqual(entry["finished_ts"], entry["started_ts"])


class PostgresPurgeTests(PurgeTests):
    engine: ClassVar[str] = "postgres"
