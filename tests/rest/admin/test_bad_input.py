"""What admins may get wrong: a clear error, and nothing done."""

from __future__ import annotations

from typing import ClassVar

from tests.harness import ALICE, HOST
from tests.rest.admin.case import AdminCase, path_of

_USER = path_of(ALICE)
_HUGE = "9" * 18
_SYNAPSE = "/_synapse/admin/v1"


class BadInputTests(AdminCase):
    async def test_unknown_ids(self) -> None:
        """Purging what is gone is fine; asking about it isn't."""
        for path, status in (
            (f"purge/{HOST}/nothing", 200),
            (f"quarantine/{HOST}/nothing", 200),
            (f"unquarantine/{HOST}/nothing", 200),
            (f"quarantine/hash/{'0' * 64}", 200),
            ("purge/user/%40nobody%3Amedia.example", 200),
            ("purge/room/!nothing", 404),
            ("quarantine/room/!nothing", 404),
            ("tasks/77/cancel", 404),
            ("datastores/none/transfer_to/folder", 400),
        ):
            answer = await self.post(path)
            self.assertEqual(answer.status, status, (path, answer))
        for path, status in (
            (f"media/{HOST}/nothing/attributes", 404),
            ("tasks/77", 404),
            ("tasks/x", 400),
            ("datastores/none/size_estimate", 200),
            ("usage/unknown.example", 200),
        ):
            answer = await self.read(path)
            self.assertEqual(answer.status, status, (path, answer))

    async def test_names_that_are_none(self) -> None:
        """A media id that can't be is 404, as for clients; all else is 400."""
        for path, status in (
            ("purge/user/alice", 400),
            ("purge/user/%40alice", 400),
            ("quarantine/user/alice", 400),
            ("purge/server/no%20name", 400),
            ("quarantine/server/no%2Fname", 400),
            ("quarantine/hash/abc", 400),
            (f"quarantine/{HOST}/no%20id", 404),
            (f"purge/no%20name/{'a' * 30}", 400),
        ):
            answer = await self.post(path)
            self.assertEqual(answer.status, status, (path, answer))
        for path in ("usage/no%20name", "usage/no%20name/users-stats"):
            self.assertEqual((await self.read(path)).status, 400, path)

    async def test_huge_numbers_are_numbers(self) -> None:
        """Pages are cut, and what is behind the end is empty."""
        await self.upload(b"a file", "a/b")
        for path in (
            f"usage/{HOST}/users-stats?from={_HUGE}&limit={_HUGE}",
            f"usage/{HOST}/users-stats?from_ts=0&until_ts={_HUGE}&limit={_HUGE}",
            f"audit?from={_HUGE}&limit={_HUGE}",
        ):
            answer = await self.read(path)
            self.assertEqual(answer.status, 200, (path, answer))
        for path in (
            f"users/{_USER}/media?from={_HUGE}&limit={_HUGE}",
            f"statistics/users/media?from={_HUGE}&limit={_HUGE}&until_ts={_HUGE}",
        ):
            answer = await self.get(f"{_SYNAPSE}/{path}", token="admin-token")
            self.assertEqual(answer.status, 200, (path, answer))
            self.assertNotIn("next_token", answer.json)
        path = f"{_SYNAPSE}/media/quarantine_changes?from={_HUGE}"
        self.assertEqual((await self.get(path, token="admin-token")).status, 400)

    async def test_times_that_are_none(self) -> None:
        """Seconds are told with what they would be in milliseconds."""
        await self.upload(b"a file", "a/b")
        for path in (
            "purge/old?include_local=true&",
            f"purge/user/{_USER}?",
            f"purge/server/{HOST}?",
        ):
            for value in ("1700000000", _HUGE, "-", "-1", "tomorrow"):
                answer = await self.post(f"{path}before_ts={value}")
                self.assertEqual(answer.status, 400, (path, value, answer))
            answer = await self.post(f"{path}before_ts=1700000000")
            self.assertIn("1700000000000", answer.json["error"])
        self.assertEqual(await self.count("media"), 1)

    async def test_refused_calls_leave_no_trace(self) -> None:
        media_id = await self.upload(b"a file", "a/b")
        for token in ("bob-token", "guest-token", None):
            for path in (
                f"purge/user/{_USER}",
                f"quarantine/{HOST}/{media_id}",
                "datastores/folder/transfer_to/other",
                "tasks/1/cancel",
            ):
                answer = await self.post(path, token=token)
                self.assertIn(answer.status, (401, 403), (path, token))
        self.assertEqual(await self.count("mmr_admin_audit"), 0)
        self.assertEqual(await self.count("background_tasks"), 0)
        self.assertEqual((await self.download(media_id)).status, 200)


class PostgresBadInputTests(BadInputTests):
    engine: ClassVar[str] = "postgres"
