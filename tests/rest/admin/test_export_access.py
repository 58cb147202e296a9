"""Who may start, see and delete exports, and what the page looks like (R2, R49)."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
from typing import Any, ClassVar

import yaml

from tests.harness import ALICE, BOB, SHARED_SECRET
from tests.rest.admin.export_case import (
    OTHER,
    SERVER_EXPORT,
    USER_EXPORT,
    ExportCase,
)

_FOUR = (
    ("GET", "/view"),
    ("GET", "/metadata"),
    ("GET", "/part/1"),
    ("DELETE", ""),
)
_ALL = (*_FOUR, ("DELETE", "/delete"), ("POST", "/delete"))


class StartTests(ExportCase):
    """Without self-service."""

    async def test_only_repository_admins_start_exports(self) -> None:
        for path in (USER_EXPORT, SERVER_EXPORT):
            for token, status in (
                ("admin-token", 200),
                (SHARED_SECRET, 200),
                ("alice-token", 403),
                ("carol-token", 403),
                ("guest-token", 403),
                (None, 401),
            ):
                answer = await self.post(path, token=token)
                self.assertEqual(answer.status, status, (path, token))

    async def test_names_that_are_none_are_refused(self) -> None:
        """R70."""
        for path in (
            "user/alice/export",
            "user/%40alice%3A..%2Fx/export",
            "user/%40al%00ice%3Amedia.example/export",
            "server/a_b/export",
            "server/media.example%0A/export",
        ):
            answer = await self.post(path)
            self.assertEqual(answer.status, 400, path)
        self.assertEqual(await self.count("exports"), 0)

    async def test_the_older_prefix_has_them_too(self) -> None:
        base = "/_matrix/media/unstable/io.t2bot.media/admin"
        answer = await self.request(
            "POST", f"{base}/{USER_EXPORT}", token="admin-token"
        )
        export_id = answer.json["export_id"]
        answer = await self.get(f"{base}/export/{export_id}/metadata", token=None)
        self.assertEqual((answer.status, answer.json["entity"]), (200, ALICE))


class SelfServiceTests(ExportCase):
    config: ClassVar[dict[str, Any]] = {"archiving": {"selfService": True}}

    async def test_users_export_what_is_theirs(self) -> None:
        media_id = await self.upload(b"data")
        export_id = await self.start(token="alice-token")
        await self.check(export_id, {media_id: b"data"})
        for token in ("bob-token", "carol-token"):
            answer = await self.post(USER_EXPORT, token=token)
            self.assertEqual(answer.status, 403, token)
            self.assertIn("another user", answer.json["error"])

    async def test_admins_of_a_homeserver_export_that(self) -> None:
        await self.start(SERVER_EXPORT, token="carol-token")
        for path, token in (
            (SERVER_EXPORT, "alice-token"),
            (f"server/{OTHER}/export", "carol-token"),
        ):
            answer = await self.post(path, token=token)
            self.assertEqual(answer.status, 403, path)

    async def test_users_cannot_fill_the_disk_with_exports(self) -> None:
        """R78."""
        for _ in range(3):
            export_id = await self.start(token="alice-token")
        answer = await self.post(USER_EXPORT, token="alice-token")
        self.assertEqual(
            (answer.status, answer.json["errcode"]), (429, "M_LIMIT_EXCEEDED")
        )
        days = answer.json["retry_after_ms"] / (24 * 3600 * 1000)
        self.assertTrue(29.9 < days <= 30, days)
        await self.start(token="admin-token")
        await self.export(export_id, method="DELETE")
        await self.export(await self.start(token="admin-token"), method="DELETE")
        answer = await self.post(USER_EXPORT, token="alice-token")
        self.assertEqual(answer.status, 429)
        self.assertEqual(
            (await self.post(f"user/{BOB}/export", token="bob-token")).status, 200
        )


class OffTests(ExportCase):
    config: ClassVar[dict[str, Any]] = {"archiving": {"enabled": False}}

    async def test_nothing_is_there_when_it_is_off(self) -> None:
        answers = [
            await self.post(USER_EXPORT),
            await self.post(SERVER_EXPORT),
            *[await self.export("x", path, method) for method, path in _ALL],
        ]
        for answer in answers:
            self.assertEqual(
                (answer.status, answer.json["error"]), (400, "archiving is not enabled")
            )


class IdTests(ExportCase):
    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        settings = yaml.safe_load(self.config_file.read_text())
        other = {"name": OTHER, "csApi": cs_api, "backoffAt": 10}
        settings["homeservers"].append({**other, "adminApiKind": "synapse"})
        self.config_file.write_text(yaml.safe_dump(settings))

    async def test_an_unknown_id_looks_like_a_wrong_one(self) -> None:
        """R49, D22: on every route."""
        await self.start()
        for export_id in ("0" * 59, "x", "a" * 200, "%2e%2e", "a%0Ab", "%F0%9F%98%80"):
            for method, path in _ALL:
                answer = await self.export(export_id, path, method)
                self.assertEqual(answer.status, 404, (export_id, method, path))
                self.assertEqual(answer.json["error"], "Not found")
        self.assertEqual(await self.count("exports"), 1)

    async def test_ids_have_room_for_no_guess(self) -> None:
        """R49: 160 random bits."""
        ids = {await self.start() for _ in range(3)}
        self.assertEqual(len({export_id[:40] for export_id in ids}), 3)
        for export_id in ids:
            self.assertRegex(export_id, r"\A[0-9a-f]{40}[0-9]+\Z")

    async def test_a_token_with_the_id_must_be_the_owners(self) -> None:
        """R49."""
        alice, server = await self.start(), await self.start(SERVER_EXPORT)
        for export_id, token, status in (
            (alice, None, 200),
            (alice, "alice-token", 200),
            (alice, "admin-token", 200),
            (alice, SHARED_SECRET, 200),
            (alice, "bob-token", 403),
            (alice, "carol-token", 403),
            (alice, "guest-token", 403),
            (server, None, 200),
            (server, "carol-token", 200),
            (server, "admin-token", 200),
            (server, "alice-token", 403),
        ):
            for method, path in _FOUR[:3]:
                answer = await self.export(export_id, path, method, token=token)
                self.assertEqual(answer.status, status, (token, path))
        for method, path in _ALL[3:]:
            answer = await self.export(alice, path, method, token="bob-token")
            self.assertEqual(answer.status, 403)
        self.assertEqual((await self.export(alice, "/view")).status, 200)

    async def test_another_homeserver_does_not_see_it(self) -> None:
        """R75."""
        export_id = await self.start()
        for method, path in _ALL:
            answer = await self.export(export_id, path, method, host=OTHER)
            self.assertEqual(answer.status, 404, path)
        answer = await self.export(export_id, "/view", token=SHARED_SECRET, host=OTHER)
        self.assertEqual(answer.status, 200)
        remote = await self.start("server/elsewhere.example/export")
        answer = await self.export(remote, "/view", host=OTHER)
        self.assertEqual(answer.status, 200)


class LogTests(ExportCase):
    async def test_no_log_has_the_id(self) -> None:
        """R49: neither our lines nor the access log."""
        access: list[str] = []
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        self.addCleanup(root.setLevel, level)
        self.addCleanup(root.removeHandler, handler)
        self.patch(self.server.site._access_log, "_write", access.append)
        bad = await self.upload(b"bad")
        export_id = await self.start()
        await self.quarantine(bad)
        for method, path in (*_ALL, *_ALL):
            await self.export(export_id, path, method)
        self.server.site._access_log.flush()
        lines = "".join(access)
        self.assertGreater(lines.count("/admin/export/<redacted>"), 10, lines)
        self.assertNotIn(export_id[:40], lines)
        self.assertNotIn(export_id[:40], out.getvalue())


class PageTests(ExportCase):
    def check_policy(self, answer: Any) -> str:
        """R2: a strict policy, and nothing on the page that it forbids."""
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertNotIn("x-content-security-policy", answer.headers)
        page: str = answer.body.decode()
        (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.assertEqual(
            answer.headers["content-security-policy"],
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
        )
        for word in ("<script", "style=", "http:", "https:", "//", "<img", "@import"):
            self.assertNotIn(word, page)
        self.assertIsNone(re.search(r"<[^>]* on[a-z]+=", page))
        return page

    async def test_it_lists_the_parts(self) -> None:
        await self.upload(b"data")
        page = self.check_policy(await self.export(await self.start(), "/view"))
        self.assertIn(f"<h1>Media export of {ALICE}</h1>", page)
        self.assertIn("The export is complete. It is kept until", page)
        self.assertEqual(
            re.findall(r'<a href="(.*?)" download>(.*?)</a>', page),
            [("part/1", "export-part-1.tgz"), ("part/2", "export-manifest.tgz")],
        )

    async def test_its_button_deletes_the_export(self) -> None:
        """D14: without a script."""
        export_id = await self.start()
        page = self.check_policy(await self.export(export_id, "/view"))
        (action,) = re.findall('<form method="post" action="(.*?)">', page)
        answer = await self.export(
            export_id,
            f"/{action}",
            "POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self.assertIn("The export is deleted.", self.check_policy(answer))
        self.assertEqual((await self.export(export_id, "/view")).status, 404)
        await self.check_nothing_left()

    async def test_it_says_how_far_the_export_is(self) -> None:
        export_id = await self.start()
        await self.execute("UPDATE background_tasks SET end_ts = 0")
        await self.execute("UPDATE mmr_task_progress SET done = 3, total = 12")
        page = self.check_policy(await self.export(export_id, "/view"))
        self.assertIn("being made: 3 of 12", page)

    async def test_it_says_what_went_wrong(self) -> None:
        lost = await self.upload(b"lost")
        (await self.path_of(lost)).unlink()
        page = self.check_policy(await self.export(await self.start(), "/view"))
        self.assertIn("1 files could not be read and are left out", page)

    async def test_it_does_not_call_half_an_export_complete(self) -> None:
        """Tasks are forgotten at some time."""
        await self.upload(b"data")
        export_id = await self.start()
        await self.execute("DELETE FROM background_tasks")
        page = self.check_policy(await self.export(export_id, "/view"))
        self.assertIn("The export is complete.", page)
        await self.execute('DELETE FROM export_parts WHERE "index" = 2')
        page = self.check_policy(await self.export(export_id, "/view"))
        self.assertIn("it isn&#39;t whole", page)
        # MMR 1.2 had its manifest in the first part.
        await self.execute("DELETE FROM mmr_exports")
        page = self.check_policy(await self.export(export_id, "/view"))
        self.assertIn("The export is complete.", page)

    async def test_names_on_it_are_escaped(self) -> None:
        user = "@%3Cb%3Ex%26y:media.example"
        export_id = await self.start(f"user/{user}/export")
        page = self.check_policy(await self.export(export_id, "/view"))
        self.assertIn("@&lt;b&gt;x&amp;y:media.example", page)

    async def test_errors_have_the_policy_of_media(self) -> None:
        answer = await self.export("x", "/view")
        self.assertTrue(
            answer.headers["content-security-policy"].startswith("sandbox;")
        )
