"""Two homeservers in one repository: what is the one's is not the other's (R75)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import yaml

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.config import load_config
from mmr.storage.media import MediaRecord

from tests.harness import ALICE, HOST, Answer, png
from tests.homeserver import StubHomeserver
from tests.rest.remote_case import THEIR_KEY
from tests.security.expected import (
    ALLOWED_FOREIGN,
    Callers,
    Role,
    callers_of,
    refusal,
)
from tests.security.route_case import RouteCase

OTHER = "other.example"
_USERS = {
    Role.GUEST: f"@guest:{OTHER}",
    Role.USER: f"@carol:{OTHER}",
    Role.LOCAL_ADMIN: f"@local:{OTHER}",
    Role.ADMIN: f"@admin:{OTHER}",
}
_OUR_TOKENS = ("alice-token", "local-token", "admin-token", "guest-token")
_NAMING = {":server", ":origin", ":server_name", ":user_id"}


class TwoHosts(RouteCase):
    """``media.example`` is the one, ``other.example`` the other."""

    async def setUp(self) -> None:
        self.theirs = StubHomeserver(reactor)
        self.their_url = await self.theirs.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.theirs.stop()))
        await super().setUp()

    def write_config(self, cs_api: str) -> None:
        super().write_config(cs_api)
        folder = self.folder / "config.d"
        folder.mkdir()
        main = yaml.safe_load(self.config_file.read_text())
        main["admins"] = [*main["admins"], _USERS[Role.ADMIN]]
        other = {
            "homeserver": OTHER,
            "csApi": self.their_url,
            "uploads": {"maxBytes": 1000},
            "urlPreviews": {"enabled": False},
            "identicons": {"enabled": False},
        }
        for name, settings in (("00-main.yaml", main), ("other.yaml", other)):
            (folder / name).write_text(yaml.safe_dump(settings))
            (folder / name).chmod(0o600)
        self.config_file.unlink()
        self.config_file = folder

    def reset_callers(self) -> None:
        super().reset_callers()
        self.theirs.users.update({self.token(role): _USERS[role] for role in _USERS})
        self.theirs.guests.add(_USERS[Role.GUEST])
        self.theirs.admins.add(_USERS[Role.LOCAL_ADMIN])

    @staticmethod
    def token(role: Role) -> str:
        """Of the other's callers."""
        return f"their-{role.name.lower()}-token"

    async def ask_at_other(self, role: Role, method: str, path: str) -> Answer:
        """One request of a caller of the other, to the other."""
        headers = {}
        if role is Role.SERVER:
            headers = self.signature(path, signed_for=OTHER, destination=OTHER)
        token = self.token(role) if role in _USERS else None
        body = b"{}" if method in ("POST", "PUT") else None
        return await self.request(
            method, path, token=token, headers=headers, body=body, host=OTHER
        )

    def crossing_routes(self) -> Iterator[tuple[str, str]]:
        """Those whose path says whose the object is."""
        for method, template in self.every_route():
            if _NAMING & {*template.split("/")}:
                yield method, template

    async def test_a_token_of_the_one_is_nobodys_at_the_other(self) -> None:
        """R45: not even where it was just good, whoever it is and whatever is asked."""
        media_id = await self.upload(png())
        for method, template in self.every_route():
            path = self.fill(template, HOST, media_id)
            body = b"{}" if method in ("POST", "PUT") else None
            for token in _OUR_TOKENS:
                self.reset_callers()
                if method == "GET":
                    await self.get(path, token=token)
                answer = await self.request(
                    method, path, token=token, body=body, host=OTHER
                )
                what = f"{method} {path} {token} {answer}"
                if callers_of(method, template) in (Callers.ANYBODY, Callers.OPEN):
                    self.assertNotIn(answer.status, (401, 403), what)
                else:
                    self.assertEqual(answer.status, 401, what)
        self.assertEqual((await self.download(media_id)).status, 200)

    async def test_every_role_of_the_other_at_what_is_the_ones(self) -> None:
        """R48: a local admin's reach is their own host."""
        media_id = await self.upload(png(), filename="ours.png")
        before = await self.record(media_id)
        for method, template in self.crossing_routes():
            callers = callers_of(method, template)
            assert callers is not None, template
            path = self.fill(template, HOST, media_id).replace(":" + OTHER, ":" + HOST)
            path = re.sub(r"@[a-z]+:media.example", ALICE, path)
            for role in Role:
                if role is Role.ADMIN:
                    # The repository's own: they reach everything.
                    continue
                self.reset_callers()
                answer = await self.ask_at_other(role, method, path)
                what = f"{method} {path} as {role.value}: {answer}"
                if role in ALLOWED_FOREIGN[callers]:
                    self.assertNotIn(answer.status, (401, 403, 500), what)
                elif answer.status == 400 and "quarantine/" in path:
                    # What MMR answers to the admins of another host (§11.3).
                    self.assertIs(role, Role.LOCAL_ADMIN, what)
                else:
                    self.assertEqual(answer.status, refusal(callers, role)[0], what)
        self.assertEqual(await self.record(media_id), before)
        self.assertEqual((await self.download(media_id)).body, png())
        self.assertEqual(await self.count("media_attributes"), 0)

    async def test_ways_that_do_not_name_a_host_reach_the_others_own_only(self) -> None:
        """By hash, by room, by bare id: as an admin of the other."""
        content = png(33, 44)
        ours = await self.upload(content)
        theirs = await self.upload_at_other(content)
        before = await self.record(ours)
        digest = hashlib.sha256(content).hexdigest()
        room = "!room:" + OTHER
        listed = [f"mxc://{HOST}/{ours}"]
        self.theirs.room_media[room] = {"local": listed, "remote": listed}
        asked = 0
        for method, template in self.every_route():
            words = {*template.split("/")}
            if _NAMING & words or not {":digest", ":room_id", ":media_id"} & words:
                continue
            if callers_of(method, template) is not Callers.LOCAL_ADMINS:
                continue
            path = self.fill(template, OTHER, ours)
            path = path.replace("0" * 64, digest).replace("!room:media.example", room)
            self.reset_callers()
            answer = await self.ask_at_other(Role.LOCAL_ADMIN, method, path)
            self.assertNotIn(answer.status, (401, 500), path)
            asked += 1
        self.assertGreater(asked, 10)
        self.assertEqual(await self.record(ours), before)
        self.assertEqual(await self.count("media_attributes"), 0)
        self.assertEqual((await self.download(ours)).body, content)
        self.assertEqual((await self.record_at_other(theirs)).media_id, theirs)

    async def test_a_content_that_the_other_quarantined_is_still_ours(self) -> None:
        content = png(33, 44)
        ours, theirs = await self.upload(content), await self.upload_at_other(content)
        path = f"/_matrix/media/unstable/admin/quarantine/{OTHER}/{theirs}"
        answer = await self.ask_at_other(Role.LOCAL_ADMIN, "POST", path)
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue((await self.record_at_other(theirs)).quarantined)
        self.assertFalse((await self.record(ours)).quarantined)
        self.assertEqual((await self.download(ours)).body, content)

    async def test_nothing_of_the_one_is_told_by_the_other(self) -> None:
        """Lists and counts of users, files and settings are each host's own."""
        media_id = await self.upload(png(), filename="ours.png")
        theirs = await self.upload_at_other(b"theirs")
        shown = 0
        marks = (HOST, "alice", media_id, "ours.png", str(self.folder), "104857600")
        for method, template in self.every_route():
            if method != "GET":
                continue
            path = self.fill(template, OTHER, theirs).replace(
                f"@somebody:{OTHER}", _USERS[Role.USER]
            )
            for role in Role:
                if role is Role.ADMIN:
                    continue
                self.reset_callers()
                answer = await self.ask_at_other(role, "GET", path)
                told = repr(answer.headers) + answer.body.decode("latin-1")
                shown += answer.status == 200
                for mark in marks:
                    self.assertNotIn(mark, told, f"{path} as {role.value}")
        self.assertGreater(shown, 50)

    async def test_settings_are_each_hosts_own(self) -> None:
        reply = await self.get("/_matrix/media/v3/config")
        self.assertEqual(reply.json["m.upload.size"], 104857600)
        reply = await self.ask_at_other(Role.USER, "GET", "/_matrix/media/v3/config")
        self.assertEqual(reply.json["m.upload.size"], 1000)
        upload = "/_matrix/media/v3/upload"
        for host, token, status in (
            (HOST, "alice-token", 200),
            (OTHER, self.token(Role.USER), 413),
        ):
            answer = await self.request(
                "POST", upload, body=bytes(2000), token=token, host=host
            )
            self.assertEqual(answer.status, status)
        for path, ours in (
            ("/_matrix/media/r0/identicon/abc", 200),
            ("/_matrix/media/v3/preview_url?url=http://127.0.0.1:1/", 404),
        ):
            self.assertEqual((await self.get(path)).status, ours, path)
            answer = await self.ask_at_other(Role.USER, "GET", path)
            self.assertIn(answer.status, (403, 404), path)

    async def test_servers_get_of_each_host_its_own(self) -> None:
        """R58: a signature is for one host, and so is an id."""
        ours = await self.upload(png())
        theirs = await self.upload_at_other(b"theirs")
        for method, template in self.every_route():
            if callers_of(method, template) is not Callers.SERVERS:
                continue
            for media_id, host in ((ours, OTHER), (theirs, HOST)):
                for origin in (HOST, OTHER):
                    path = self.fill(template, origin, media_id)
                    answer = await self.ask_us(path, host)
                    self.assertEqual(answer.status, 404, (path, host))
                # Signed for the one, sent to the other.
                path = self.fill(template, host, media_id)
                wrong = OTHER if host == HOST else HOST
                headers = self.signature(
                    path, key=THEIR_KEY, signed_for=wrong, destination=wrong
                )
                answer = await self.get(path, headers=headers, host=host)
                self.assertEqual(answer.status, 401, (path, host))
        path = f"/_matrix/federation/v1/media/download/{theirs}"
        self.assertEqual((await self.ask_us(path, OTHER)).status, 200)

    async def test_an_id_that_the_one_reserved_is_not_filled_at_the_other(self) -> None:
        media_id = await self.create()
        for host in (HOST, OTHER):
            path = f"/_matrix/media/v3/upload/{host}/{media_id}"
            answer = await self.ask_at_other(Role.USER, "PUT", path)
            self.assertIn(answer.status, (403, 404), answer)
        self.assertEqual((await self.put(media_id, b"ours")).status, 200)

    async def test_logging_out_at_the_other_ends_nothing_at_the_one(self) -> None:
        media_id = await self.upload(png())
        for everywhere in ("", "/all"):
            path = f"/_matrix/client/v3/logout{everywhere}"
            answer = await self.request("POST", path, token="alice-token", host=OTHER)
            self.assertEqual(answer.status, 401)
        self.assertEqual((await self.download(media_id)).status, 200)

    async def test_a_host_that_is_taken_out_is_unknown_at_once(self) -> None:
        theirs = await self.upload_at_other(b"theirs")
        (self.config_file / "other.yaml").unlink()
        self.server.reload(load_config([self.config_file]))
        path = f"/_matrix/client/v1/media/download/{OTHER}/{theirs}"
        answer = await self.ask_at_other(Role.USER, "GET", path)
        self.assertEqual(answer.status, 502)

    async def upload_at_other(self, data: bytes) -> str:
        answer = await self.request(
            "POST",
            "/_matrix/media/v3/upload",
            body=data,
            token=self.token(Role.USER),
            headers={"Content-Type": "image/png"},
            host=OTHER,
        )
        assert answer.status == 200, answer
        uri: str = answer.json["content_uri"]
        assert uri.startswith(f"mxc://{OTHER}/"), uri
        return uri.rpartition("/")[2]

    async def record_at_other(self, media_id: str) -> MediaRecord:
        record = await self.server.stores.media.get_media(OTHER, media_id)
        assert record is not None
        return record
