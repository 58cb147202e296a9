"""Quarantine over HTTP: complete, at once, and back (R84-R90)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.client import ResponseNeverReceived  # type: ignore[attr-defined]

from mmr.media.commit import ObjectCommitter
from mmr.thumbnailing.pool import ThumbnailPool

from tests.harness import ALICE, HOST, png
from tests.rest.admin.case import MEDIA, ROOM, TOKENS, AdminCase, path_of
from tests.wire import Answer

_ROUTES = (
    "/_matrix/media/r0/download/{host}/{id}",
    "/_matrix/media/v3/download/{host}/{id}",
    "/_matrix/media/v3/download/{host}/{id}/name.png",
    "/_matrix/client/v1/media/download/{host}/{id}",
    "/_matrix/client/v1/media/thumbnail/{host}/{id}?width=32&height=32",
    "/_matrix/media/v3/thumbnail/{host}/{id}?width=96&height=96&method=crop",
    MEDIA + "/info/{host}/{id}",
)
_HEADERS: tuple[dict[str, str], ...] = ({}, {"Range": "bytes=0-3"})


class QuarantineTests(AdminCase):
    config: ClassVar[dict[str, Any]] = {
        "quarantine": {"replaceThumbnails": False},
        "downloads": {"cache": {"enabled": True, "minDownloads": 1}},
    }

    async def test_no_route_gives_out_a_byte(self) -> None:
        """Neither of the media nor of its copies, warm or cold (R84)."""
        for is_warm in (True, False):
            data = png(color="red" if is_warm else "blue")
            mine = await self.upload(data)
            copy = await self.upload(data, token="bob-token")
            if is_warm:
                for media_id in (mine, copy):
                    for _ in range(3):
                        await self.for_all_routes(media_id, self.is_served)
            answer = await self.post(f"quarantine/{HOST}/{mine}")
            self.assertEqual(answer.json["num_quarantined"], 2)
            for media_id in (mine, copy):
                await self.for_all_routes(media_id, self.is_refused)
            again = await self.request("POST", "/_matrix/media/v3/upload", body=data)
            self.assertEqual(again.status, 403)
            reserved = await self.create()
            self.assertEqual((await self.put(reserved, data)).status, 403)

    async def for_all_routes(
        self, media_id: str, check: Callable[[str, Answer], None]
    ) -> None:
        etag = f'"{(await self.record(media_id)).sha256_hash}"'
        for route in _ROUTES:
            path = route.format(host=HOST, id=media_id)
            for headers in (*_HEADERS, {"If-None-Match": etag}):
                check(path, await self.get(path, headers=headers))
            if "/download/" in path:
                check(path, await self.request("HEAD", path))

    def is_served(self, path: str, answer: Answer) -> None:
        self.assertIn(answer.status, (200, 206, 304), path)

    def is_refused(self, path: str, answer: Answer) -> None:
        self.assertEqual(answer.status, 404, path)

    async def test_a_thumbnail_that_was_uploaded_stops_being_one(self) -> None:
        original = await self.upload(png(640, 480))
        shown = await self.thumbnail(original)
        copy = await self.upload(shown.body)
        await self.post(f"quarantine/{HOST}/{copy}")
        answer = await self.thumbnail(original)
        self.assertNotEqual(answer.body, shown.body)
        self.assertEqual((await self.download(original)).status, 200)

    async def test_running_downloads_are_cut(self) -> None:
        """However slowly their clients read (R85)."""
        media_id = await self.upload(os.urandom(20 << 20), "video/mp4")
        wires = [await self.wire() for _ in range(10)]
        for wire in wires:
            wire.transport.pauseProducing()  # type: ignore[union-attr]
            path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
            wire.send(self.head("GET", path))
        await self.eventually(lambda: len(self.server.serving) == 10)
        await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(len(self.server.serving), 0)
        for wire in wires:
            wire.transport.resumeProducing()  # type: ignore[union-attr]
            received = await wire.closed()
            self.assertLess(len(received), 20 << 20)

    async def test_downloads_are_cut_when_another_process_says_so(self) -> None:
        for was_released in (True, False):
            media_id = await self.upload(os.urandom(20 << 20), "video/mp4")
            digest = (await self.record(media_id)).sha256_hash
            wire = await self.wire()
            wire.transport.pauseProducing()  # type: ignore[union-attr]
            path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
            wire.send(self.head("GET", path))
            await self.eventually(lambda: len(self.server.serving) == 1)
            # What that process did; or it was undone before we heard of it.
            await self.execute(
                "UPDATE media SET quarantined = ? WHERE media_id = ?",
                (not was_released, media_id),
            )
            self.server.content_removed(digest)
            for _ in range(10):
                await self.server.db.ping()
            wire.transport.resumeProducing()  # type: ignore[union-attr]
            if was_released:
                await self.eventually(lambda w=wire: len(w.received) > 20 << 20)
            else:
                self.assertLess(len(await wire.closed()), 20 << 20)

    async def test_downloads_are_cut_when_nobody_could_say_so(self) -> None:
        """R85: messages may be lost, and what they said is looked up."""
        wires = {}
        for quarantined in (False, True):
            media_id = await self.upload(os.urandom(20 << 20), "video/mp4")
            wires[quarantined] = wire = await self.wire()
            wire.transport.pauseProducing()  # type: ignore[union-attr]
            path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
            wire.send(self.head("GET", path))
        await self.eventually(lambda: len(self.server.serving) == 2)
        # What another process did.
        await self.execute(
            "UPDATE media SET quarantined = TRUE WHERE media_id = ?", (media_id,)
        )
        self.server.bus._missed()
        await self.eventually(lambda: len(self.server.serving) == 1)
        for quarantined, wire in wires.items():
            wire.transport.resumeProducing()  # type: ignore[union-attr]
            if quarantined:
                self.assertLess(len(await wire.closed()), 20 << 20)
        await self.eventually(lambda: len(wires[False].received) > 20 << 20)

    async def test_a_render_under_way_is_for_nobody(self) -> None:
        """R85: the picture of what was just quarantined isn't kept."""
        media_id = await self.upload(png(640, 480))
        render = ThumbnailPool.probe_and_render
        calls: list[Deferred[Answer]] = []
        is_rendered: Deferred[None] = Deferred()

        async def slow(pool: ThumbnailPool, *args: Any, **kwargs: Any) -> Any:
            rendered = await render(pool, *args, **kwargs)
            path = f"quarantine/{HOST}/{media_id}"
            calls.append(Deferred.fromCoroutine(self.post(path)))
            try:
                await deferLater(reactor, 0.2)
            finally:
                # It is broken off: nobody waits for it any more.
                is_rendered.callback(None)
            return rendered

        self.patch(ThumbnailPool, "probe_and_render", slow)
        with self.assertRaises(ResponseNeverReceived):
            await self.thumbnail(media_id)
        self.assertEqual((await calls[0]).json["num_quarantined"], 1)
        await is_rendered
        await deferLater(reactor, 0.1)
        self.assertEqual(await self.count("thumbnails"), 0)

    async def test_an_upload_under_way_is_refused_or_quarantined(self) -> None:
        """R86: whichever was first, nothing is live in the end."""
        first = await self.upload(png())
        is_present: Any = ObjectCommitter._is_present

        async def slow(*args: Any) -> Any:
            """Between the first look at the hash and the commit."""
            await self.post(f"quarantine/{HOST}/{first}")
            return await is_present(*args)

        self.patch(ObjectCommitter, "_is_present", slow)
        answer = await self.request(
            "POST", "/_matrix/media/v3/upload", body=png(), token="bob-token"
        )
        self.assertEqual(answer.status, 403)

    async def test_what_was_released_is_served_again(self) -> None:
        media_id, copy = (
            await self.upload(png()),
            await self.upload(png(), token="bob-token"),
        )
        shown = await self.thumbnail(media_id)
        await self.post(f"quarantine/{HOST}/{media_id}")
        answer = await self.post(f"unquarantine/{HOST}/{copy}?reason=a%20mistake")
        self.assertEqual(answer.json["num_released"], 2)
        self.assertEqual((await self.download(media_id)).body, png())
        self.assertEqual((await self.thumbnail(copy)).body, shown.body)
        actions = [
            (e["action"], e["affected"], e["reason"])
            for e in (await self.read("audit")).json["entries"]
        ]
        self.assertEqual(
            actions, [("unquarantine", 2, "a mistake"), ("quarantine", 2, "")]
        )

    async def test_by_hash(self) -> None:
        media_id = await self.upload(png())
        digest = (await self.record(media_id)).sha256_hash
        answer = await self.post(f"quarantine/hash/{digest.upper()}")
        self.assertEqual(answer.json["affected"], [f"mxc://{HOST}/{media_id}"])
        self.assertEqual((await self.post("quarantine/hash/abc")).status, 400)
        answer = await self.post(f"quarantine/hash/{'0' * 64}")
        self.assertEqual(answer.json["num_quarantined"], 0)

    async def test_a_room_a_user_and_a_server(self) -> None:
        self.homeserver.room_media[ROOM] = {"local": [], "remote": []}
        targets = (f"room/{path_of(ROOM)}", f"user/{path_of(ALICE)}", f"server/{HOST}")
        for number, target in enumerate(targets):
            media_id = await self.upload(png(64 + number))
            self.homeserver.room_media[ROOM]["local"] = [f"mxc://{HOST}/{media_id}"]
            for verb, status in (("quarantine", 404), ("unquarantine", 200)):
                answer = await self.post(f"{verb}/{target}", token="carol-token")
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual((await self.download(media_id)).status, status, target)
        path = f"/_matrix/client/unstable/admin/quarantine_media/{path_of(ROOM)}"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.json["num_quarantined"], 1)

    async def test_pinned_and_unknown_media_is_listed(self) -> None:
        """R89: no silent gaps."""
        pinned = await self.upload(png())
        await self.post(
            f"media/{HOST}/{pinned}/attributes", body=b'{"purpose": "pinned"}'
        )
        uris = [f"mxc://{HOST}/{pinned}", "mxc://remote.example/unknown"]
        self.homeserver.room_media[ROOM] = {"local": uris[:1], "remote": uris[1:]}
        answer = await self.post(f"quarantine/room/{path_of(ROOM)}")
        self.assertEqual(answer.json["num_quarantined"], 0)
        self.assertEqual(
            answer.json["skipped"],
            [
                {"mxc": uris[0], "reason": "pinned"},
                {"mxc": uris[1], "reason": "unknown"},
            ],
        )
        self.assertEqual((await self.download(pinned)).status, 200)

    async def test_media_of_a_room_that_is_out_of_reach_is_listed(self) -> None:
        """R89: for admins of a homeserver, other servers' media."""
        local, remote = [await self.upload(png(color=c)) for c in ("red", "blue")]
        await self.insert_remote(remote)
        uris = [f"mxc://{HOST}/{local}", f"mxc://remote.example/{remote}"]
        self.homeserver.room_media[ROOM] = {"local": uris[:1], "remote": uris[1:]}
        path = f"quarantine/room/{path_of(ROOM)}"
        answer = await self.post(path, token="carol-token")
        self.assertEqual(answer.json["affected"], uris[:1])
        skipped = [{"mxc": uris[1], "reason": "not_permitted"}]
        self.assertEqual(answer.json["skipped"], skipped)
        self.assertEqual((await self.post(path)).json["affected"], uris[1:])

    async def test_nobody_gets_around_it_with_synapses_parameter(self) -> None:
        """R90: neither admins nor others, warm or cold."""
        media_id = await self.upload(png())
        await self.download(media_id)
        await self.post(f"quarantine/{HOST}/{media_id}")
        bypass = "admin_unsafely_bypass_quarantine=true"
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}?{bypass}"
        for _ in range(2):
            for role, token in TOKENS.items():
                expected = 401 if token is None else 404
                answer = await self.get(path, token=token)
                self.assertEqual(answer.status, expected, role)
            self.server.media_records.clear()
            await self.server.content_cache.clear()

    async def test_local_admins_are_kept_to_their_server(self) -> None:
        """Also by a hash that others share (R48, R84)."""
        local, remote = (
            await self.upload(png()),
            await self.upload(png(), token="bob-token"),
        )
        await self.insert_remote(remote)
        path = f"quarantine/remote.example/{remote}"
        answer = await self.post(path, token="carol-token")
        self.assertEqual(answer.status, 400)
        for target in ("server/remote.example", "user/%40x%3Aremote.example"):
            answer = await self.post(f"quarantine/{target}", token="carol-token")
            self.assertEqual(answer.status, 403)
        answer = await self.post(f"quarantine/{HOST}/{local}", token="carol-token")
        self.assertEqual(answer.json["num_quarantined"], 1)
        path = f"/_matrix/client/v1/media/download/remote.example/{remote}"
        self.assertEqual((await self.get(path)).status, 200)

    async def test_many_copies_are_done_in_several_steps(self) -> None:
        media_id = await self.upload(png())
        for number in range(450):
            await self.execute(
                "INSERT INTO media SELECT origin, ?, upload_name, content_type,"
                " user_id, sha256_hash, size_bytes, location, creation_ts, quarantined,"
                " datastore_id FROM media WHERE media_id = ?",
                (f"copy{number}", media_id),
            )
        answer = await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(answer.json["num_quarantined"], 451)
        self.assertEqual(len(answer.json["affected"]), 451)
        answer = await self.post(f"unquarantine/server/{HOST}")
        self.assertEqual(answer.json["num_released"], 451)


class PostgresQuarantineTests(QuarantineTests):
    engine: ClassVar[str] = "postgres"


class ForbiddenToLocalAdminsTests(AdminCase):
    config: ClassVar[dict[str, Any]] = {"quarantine": {"allowLocalAdmins": False}}

    async def test_the_operator_may_keep_it_from_local_admins(self) -> None:
        media_id = await self.upload(png())
        path = f"quarantine/{HOST}/{media_id}"
        answer = await self.post(path, token="carol-token")
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"))
        self.assertEqual((await self.post(path)).status, 200)
