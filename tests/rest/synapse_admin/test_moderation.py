"""Quarantine and protection at Synapse's paths (synapse-internals.md §3.2)."""

from __future__ import annotations

from tests.harness import ALICE, BOB, HOST, SHARED_SECRET, png
from tests.rest.synapse_admin.case import FAR, LOCAL_ADMIN, SynapseAdminCase


class QuarantineTests(SynapseAdminCase):
    async def test_one_media_and_its_copies_and_back(self) -> None:
        """R84, R85: at once, whoever uploaded the copy."""
        picture = png()
        first = await self.upload(picture)
        copy = await self.upload(picture, token="bob-token", filename="other.png")

        self.assertEqual(
            await self.ask("POST", f"/media/quarantine/{HOST}/{first}"), {}
        )

        for media_id in (first, copy):
            self.assertTrue(await self.is_quarantined(media_id))
            self.assertEqual((await self.download(media_id)).status, 404)
            self.assertEqual(
                (await self.thumbnail(media_id)).status, 200
            )  # a placeholder
        path = f"/media/unquarantine/{HOST}/{first}"
        self.assertEqual(await self.ask("POST", path), {})
        for media_id in (first, copy):
            self.assertEqual((await self.download(media_id)).body, picture)

    async def test_unknown_media_is_no_error(self) -> None:
        for origin in (HOST, FAR):
            for verb in ("quarantine", "unquarantine"):
                path = f"/media/{verb}/{origin}/nothing"
                self.assertEqual(await self.ask("POST", path), {})

    async def test_bodies_are_ignored(self) -> None:
        for body in (b"{}", b"", b"no json"):
            answer = await self.call("POST", f"/user/{BOB}/media/quarantine", body=body)
            self.assertEqual(answer.json, {"num_quarantined": 0})

    async def test_a_user(self) -> None:
        mine = [await self.upload(png(40 + n, 40)) for n in range(3)]
        other = await self.upload(png(90, 90), token="bob-token")
        path = f"/user/{ALICE}/media/quarantine"
        for token, expected in (("local-token", 3), ("admin-token", 0)):
            answer = await self.ask("POST", path, token)
            self.assertEqual(answer, {"num_quarantined": expected})
        self.assertEqual([await self.is_quarantined(m) for m in mine], [True] * 3)
        self.assertFalse(await self.is_quarantined(other))

    async def test_a_room_by_both_paths(self) -> None:
        media_id, other = await self.upload(png()), await self.upload(png(90, 90))
        await self.fetched("abc", b"far away")
        self.homeserver.room_media["!r:x"] = {
            "local": [f"mxc://{HOST}/{media_id}", f"mxc://{HOST}/gone", "nonsense"],
            "remote": [f"mxc://{FAR}/abc", "mxc://../x"],
        }
        # A homeserver's admin reaches the homeserver's own media (R48).
        answer = await self.ask("POST", "/room/!r:x/media/quarantine", "local-token")
        self.assertEqual(answer, {"num_quarantined": 1})
        self.assertTrue(await self.is_quarantined(media_id))
        self.assertFalse(await self.is_quarantined(other))

        self.homeserver.admins.add("@admin:media.example")
        answer = await self.ask("POST", "/quarantine_media/!r:x")
        self.assertEqual(answer, {"num_quarantined": 1})
        far = await self.server.stores.media.get_media(FAR, "abc")
        assert far is not None
        self.assertTrue(far.quarantined)

    async def test_the_operator_may_keep_it_from_homeserver_admins(self) -> None:
        media_id = await self.upload(png())
        await self.stop_server()
        self.config = {"quarantine": {"allowLocalAdmins": False}}
        self.write_config(self.homeserver.url)
        await self.start_server()
        path = f"/media/quarantine/{HOST}/{media_id}"
        answer = await self.call("POST", path, "local-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))
        await self.ask("POST", path)

    async def test_media_of_other_servers_are_for_repository_admins(self) -> None:
        """R48."""
        await self.fetched("abc", b"far away")
        path = f"/media/quarantine/{FAR}/abc"
        answer = await self.call("POST", path, "local-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))
        await self.ask("POST", path)
        far = await self.server.stores.media.get_media(FAR, "abc")
        assert far is not None
        self.assertTrue(far.quarantined)

    async def test_each_action_leaves_an_entry(self) -> None:
        """R90."""
        media_id = await self.upload(png())
        await self.ask("POST", f"/media/quarantine/{HOST}/{media_id}", "local-token")
        await self.ask("POST", f"/media/unquarantine/{HOST}/{media_id}", SHARED_SECRET)
        await self.ask("POST", f"/media/protect/{media_id}")
        entries = await self.server.stores.audit.get_page(None, 10)
        self.assertEqual(
            [(entry.actor, entry.action) for entry in entries[::-1]],
            [
                (LOCAL_ADMIN, "quarantine"),
                ("@sharedsecret", "unquarantine"),
                ("@admin:media.example", "set_purpose_pinned"),
            ],
        )
        self.assertEqual(
            {entry.target for entry in entries}, {f"mxc://{HOST}/{media_id}"}
        )


class ProtectionTests(SynapseAdminCase):
    async def test_protected_media_is_not_quarantined(self) -> None:
        media_id = await self.upload(png())
        path = f"/media/protect/{media_id}"
        self.assertEqual(await self.ask("POST", path, "local-token"), {})
        await self.ask("POST", f"/media/quarantine/{HOST}/{media_id}")
        answer = await self.ask("POST", f"/user/{ALICE}/media/quarantine")
        self.assertEqual(answer, {"num_quarantined": 0})
        self.assertFalse(await self.is_quarantined(media_id))

        self.assertEqual(await self.ask("POST", f"/media/unprotect/{media_id}"), {})
        answer = await self.ask("POST", f"/user/{ALICE}/media/quarantine")
        self.assertEqual(answer, {"num_quarantined": 1})

    async def test_unknown_media(self) -> None:
        for verb in ("protect", "unprotect"):
            answer = await self.call("POST", f"/media/{verb}/nothing")
            self.assertEqual(
                (answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND")
            )
