"""Who may call what (R48, D15)."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.harness import ALICE, HOST, png
from tests.homeserver import error_reply
from tests.rest.admin.case import MEDIA, ROOM, TOKENS, AdminCase, path_of

_GLOBAL = ("shared secret", "repository admin")
_LOCAL = (*_GLOBAL, "local admin")
_OWNERS = (*_LOCAL, "uploader")
# With a token that the homeserver knows: the shared secret is none (§2.5).
_ROOM = ("repository admin", "local admin")
_ID = "{id}"
_USER = path_of(ALICE)
_ROOM_ID = path_of(ROOM)

# Method, path, who may; with the host's own media first, then another's.
_TABLE = (
    ("POST", "purge/remote?before_ts=1700000000000", _GLOBAL),
    ("POST", "purge_remote?before_ts=1700000000000", _GLOBAL),
    ("POST", "purge/old?before_ts=1500000000000", _GLOBAL),
    ("POST", "purge/quarantined", _LOCAL),
    ("POST", f"purge/user/{_USER}?before_ts=0", _LOCAL),
    ("POST", f"purge/room/{_ROOM_ID}?before_ts=0", _ROOM),
    ("POST", f"purge/server/{HOST}?before_ts=0", _LOCAL),
    ("POST", f"purge/{HOST}/{_ID}?dry_run=true", _OWNERS),
    ("POST", "purge/user/%40x%3Aremote.example?before_ts=0", _GLOBAL),
    ("POST", "purge/server/remote.example?before_ts=0", _GLOBAL),
    ("POST", "purge/remote.example/{remote}?dry_run=true", _GLOBAL),
    *(
        row
        for verb in ("quarantine", "unquarantine")
        for row in (
            ("POST", f"{verb}/room/{_ROOM_ID}", _ROOM),
            ("POST", f"{verb}/user/{_USER}", _LOCAL),
            ("POST", f"{verb}/server/{HOST}", _LOCAL),
            ("POST", f"{verb}/hash/{'0' * 64}", _LOCAL),
            ("POST", f"{verb}/{HOST}/nothing", _LOCAL),
            ("POST", f"{verb}/user/%40x%3Aremote.example", _GLOBAL),
            ("POST", f"{verb}/server/remote.example", _GLOBAL),
        )
    ),
    ("GET", f"media/{HOST}/{_ID}/attributes", _LOCAL),
    ("POST", f"media/{HOST}/{_ID}/attributes", _LOCAL),
    ("GET", "media/remote.example/{remote}/attributes", _GLOBAL),
    ("GET", f"usage/{HOST}", _GLOBAL),
    ("GET", f"usage/{HOST}/users", _GLOBAL),
    ("GET", f"usage/{HOST}/uploads", _GLOBAL),
    ("GET", f"usage/{HOST}/users-stats", _LOCAL),
    ("GET", "usage/remote.example/users-stats", _GLOBAL),
    ("GET", "audit", _GLOBAL),
    ("GET", "tasks/all", _GLOBAL),
    ("GET", "tasks/unfinished", _GLOBAL),
    ("GET", "datastores", _GLOBAL),
)


class RoleTests(AdminCase):
    async def test_every_endpoint_by_every_role(self) -> None:
        media_id = await self.upload(png())
        remote = await self.upload(png(color="blue"))
        await self.insert_remote(remote)
        self.homeserver.room_media[ROOM] = {"local": [], "remote": []}
        for method, template, allowed in _TABLE:
            path = template.format(id=media_id, remote=remote)
            for role, token in TOKENS.items():
                body = b'{"purpose": "none"}' if "attributes" in path else None
                url = f"{MEDIA}/admin/{path}"
                if method == "GET":
                    body = None
                answer = await self.request(method, url, token=token, body=body)
                with self.subTest(path=path, role=role):
                    self.assertEqual(answer.status, self.expected(role, allowed))
                    if answer.status == 403 and role != "guest":
                        self.assertEqual(answer.json["errcode"], "M_FORBIDDEN")

    def expected(self, role: str, allowed: tuple[str, ...]) -> int:
        """Never 401 for who is known: clients log out on that."""
        if role in allowed:
            return 200
        return 401 if role == "nobody" else 403

    async def test_both_prefixes_are_served(self) -> None:
        for path in ("tasks/all", "audit", f"usage/{HOST}", "datastores"):
            for prefix in ("unstable", "unstable/io.t2bot.media"):
                url = f"/_matrix/media/{prefix}/admin/{path}"
                answer = await self.get(url, token="admin-token")
                self.assertEqual(answer.status, 200, url)

    async def test_refused_admin_probes_lock_nobody_out(self) -> None:
        """The back-off of probes is their own (D34, R47)."""
        media_id = await self.upload(png())
        for _ in range(20):
            answer = await self.post(f"purge/{HOST}/{media_id}", token="bob-token")
            self.assertEqual(answer.status, 403)
        self.homeserver.users["new-token"] = ALICE
        self.assertEqual((await self.download(media_id, token="new-token")).status, 200)


class PostgresRoleTests(RoleTests):
    engine: ClassVar[str] = "postgres"


class OtherHomeserverTests(AdminCase):
    """Of the kind ``matrix``, as MMR's default is."""

    kind: ClassVar[str] = "matrix"

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        text = self.config_file.read_text().replace("synapse", self.kind)
        self.config_file.write_text(text)

    async def test_local_admins_are_found_by_the_specifications_whois(self) -> None:
        media_id = await self.upload(png())
        answer = await self.post(f"purge/{HOST}/{media_id}", token="carol-token")
        self.assertEqual(answer.status, 200)
        [whois] = [s.path for s in self.homeserver.requests if "whois" in s.path]
        self.assertTrue(whois.startswith("/_matrix/client/v3/admin/whois/"))

    async def test_only_synapse_can_list_a_room(self) -> None:
        answer: Any = await self.post(f"purge/room/{_ROOM_ID}")
        self.assertGreaterEqual(answer.status, 400)
        self.assertNotEqual(answer.status, 401)


class DendriteTests(OtherHomeserverTests):
    kind: ClassVar[str] = "dendrite"


class FailingProbeTests(AdminCase):
    async def test_a_homeserver_that_fails_to_answer_probes_still_signs_users_in(
        self,
    ) -> None:
        """D34, R47: its admins are none meanwhile, and are again at once after."""
        media_id = await self.upload(png())
        path = f"purge/{HOST}/{media_id}"
        self.assertEqual((await self.post(path, token="bob-token")).status, 403)
        self.homeserver.override = error_reply(500, "M_UNKNOWN")
        for _ in range(20):
            answer = await self.post(path, token="bob-token")
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.json["errcode"], "M_FORBIDDEN")
        probes = [s for s in self.homeserver.requests if "whois" in s.path]
        self.assertLess(len(probes), 15)
        self.homeserver.override = None
        self.homeserver.users["new-token"] = ALICE
        self.assertEqual((await self.download(media_id, token="new-token")).status, 200)
        answer = await self.post(path, token="admin-token")
        self.assertEqual(answer.status, 200)
