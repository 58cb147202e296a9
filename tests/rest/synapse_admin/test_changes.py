"""The list of what was quarantined and released (synapse-internals.md §3.2; R90)."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults

from tests.harness import ALICE, HOST
from tests.rest.synapse_admin.case import FAR, SynapseAdminCase

_PATH = "/media/quarantine_changes"


class ChangesTests(SynapseAdminCase):
    async def changes(self, start: int = 0, token: str = "admin-token") -> Any:
        return await self.ask("GET", f"{_PATH}?from={start}", token)

    async def quarantine(self, media_id: str, origin: str = HOST) -> None:
        await self.ask("POST", f"/media/quarantine/{origin}/{media_id}")

    async def test_it_is_empty_at_first(self) -> None:
        for path in (_PATH, f"{_PATH}?from=0"):
            answer = await self.ask("GET", path)
            self.assertEqual(answer, {"next_batch": 0, "changes": []})

    async def test_each_copy_is_a_change_and_so_is_its_release(self) -> None:
        first = await self.upload(b"same", "a/b")
        copy = await self.upload(b"same", "a/b", filename="copy")
        await self.quarantine(first)
        await self.quarantine(first)
        await self.ask("POST", f"/media/unquarantine/{HOST}/{copy}")
        found = await self.changes()
        self.assertEqual(found["next_batch"], 4)
        seen = [
            (change["origin"], change["media_id"], change["quarantined"])
            for change in found["changes"]
        ]
        for part, quarantined in ((seen[:2], True), (seen[2:], False)):
            self.assertEqual(
                set(part), {(HOST, each, quarantined) for each in (first, copy)}
            )
        # The audit log knows who did it, and why.
        for change in found["changes"]:
            start = change["audit_id"] + 1
            path = f"/_matrix/media/unstable/admin/audit?from={start}&limit=1"
            [entry] = (await self.get(path, token="admin-token")).json["entries"]
            verb = "quarantine" if change["quarantined"] else "unquarantine"
            self.assertEqual(entry["action"], verb)

    async def test_pages_follow_each_other_without_gaps(self) -> None:
        for number in range(130):
            await self.upload(b"%d" % number, "a/b")
        await self.ask("POST", f"/user/{ALICE}/media/quarantine")
        first = await self.changes()
        self.assertEqual(len(first["changes"]), 100)
        second = await self.changes(first["next_batch"])
        ids = [each["media_id"] for each in first["changes"] + second["changes"]]
        self.assertEqual(len(set(ids)), 130)
        end = await self.changes(second["next_batch"])
        self.assertEqual(end, {"next_batch": 130, "changes": []})

    async def test_places_that_are_none(self) -> None:
        for start in ("1", "x", "-1", "99999999999999999999"):
            answer = await self.call("GET", f"{_PATH}?from={start}")
            self.assertEqual(
                (answer.status, answer.json["errcode"]), (400, "M_INVALID_PARAM")
            )

    async def test_homeserver_admins_see_their_own(self) -> None:
        """R48."""
        await self.fetched("abc", b"far away")
        own = await self.upload(b"own", "a/b")
        await self.quarantine(own)
        await self.quarantine("abc", FAR)
        self.assertEqual(len((await self.changes())["changes"]), 2)
        found = await self.changes(token="local-token")
        self.assertEqual([each["media_id"] for each in found["changes"]], [own])
        found = await self.changes(found["next_batch"], "local-token")
        self.assertEqual(found, {"next_batch": 2, "changes": []})
        answer = await self.call("GET", _PATH, "alice-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))

    async def test_what_was_purged_is_released_too(self) -> None:
        media_id = await self.upload(b"bad", "a/b")
        await self.quarantine(media_id)
        path = "/_matrix/media/unstable/admin/purge/quarantined"
        await self.request("POST", path, token="admin-token")
        await self.ask("POST", f"/media/unquarantine/{HOST}/{media_id}")
        flags = [each["quarantined"] for each in (await self.changes())["changes"]]
        self.assertEqual(flags, [True, False])

    async def test_those_who_come_at_once_get_places_of_their_own(self) -> None:
        ids = [await self.upload(b"%d" % number, "a/b") for number in range(12)]
        await gatherResults([Deferred.fromCoroutine(self.quarantine(m)) for m in ids])
        found = await self.changes()
        self.assertEqual({each["media_id"] for each in found["changes"]}, set(ids))
        self.assertEqual(found["next_batch"], 12)


class PostgresChangesTests(ChangesTests):
    engine: ClassVar[str] = "postgres"
