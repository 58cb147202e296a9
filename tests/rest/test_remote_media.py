"""Media of other servers: fetched, kept, given out (matrix-media-spec §8)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mmr.cluster import leases
from mmr.metrics import REGISTRY
from mmr.server import MediaRepoServer

from tests.harness import HOST, png
from tests.rest.remote_case import (
    DOWNLOAD,
    ENVELOPE_TYPE,
    RemoteCase,
    body_of,
    envelope,
    send_file,
)
from tests.stub_web import Seen, StubConnection

LARGE = bytes(range(256)) * 2000
OLD_PATHS = ("/_matrix/media/r0", "/_matrix/media/v1", "/_matrix/media/v3")


def attempts(origin: str) -> float:
    found = REGISTRY.get_sample_value("media_downloaded_total", {"origin": origin})
    return found or 0


class RemoteMediaTest(RemoteCase):
    async def test_remote_media_is_fetched_once_and_kept(self) -> None:
        for content in (b"small", LARGE):
            self.reply_file(content)
            media_id = f"id{len(content)}"
            before = len(self.asked)
            for _ in range(3):
                answer = await self.fetch(media_id)
                self.assertEqual((answer.status, answer.body), (200, content))
                self.assertEqual(answer.headers["content-type"], "image/png")
                self.assertEqual(
                    answer.headers["content-disposition"], "inline; filename=a.png"
                )
            self.assertEqual(len(self.asked), before + 1)
            record = await self.remote_record(media_id)
            assert record is not None
            self.assertEqual((record.size_bytes, record.user_id), (len(content), ""))
            self.assertEqual(await self.count("mmr_object_intents"), 0)

    async def test_what_is_kept_has_ranges_and_conditions(self) -> None:
        self.reply_file(LARGE)
        await self.fetch()
        answer = await self.fetch(headers={"Range": "bytes=256-511"})
        self.assertEqual((answer.status, answer.body), (206, LARGE[256:512]))
        etag = answer.headers["etag"]
        answer = await self.fetch(headers={"If-None-Match": etag})
        self.assertEqual((answer.status, answer.body), (304, b""))

    async def test_identical_files_of_two_servers_share_their_bytes(self) -> None:
        self.reply_file(LARGE)
        await self.upload(LARGE)
        await self.fetch()
        self.assertEqual(len(self.files()), 1)

    async def test_head_of_remote_media(self) -> None:
        """D8: the file is fetched and kept, the answer has no body."""
        for content in (b"small", LARGE):
            self.reply_file(content)
            media_id = f"id{len(content)}"
            wire = await self.wire()
            wire.send(self.head("HEAD", self.path(media_id)))
            answer = await wire.answer("HEAD")
            self.assertEqual((answer.status, answer.body), (200, b""))
            self.assertEqual(answer.headers["content-type"], "image/png")

            async def is_kept(media_id: str = media_id) -> bool:
                return await self.remote_record(media_id) is not None

            await self.eventually(is_kept)
            # The connection is in order: nothing of a body was sent.
            wire.send(self.head("HEAD", self.path(media_id)))
            again = await wire.answer("HEAD")
            self.assertEqual(again.headers["content-length"], str(len(content)))

    async def test_thumbnail_of_remote_media(self) -> None:
        self.reply_file(png(400, 300))
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        for _ in range(2):
            answer = await self.get(path + "?width=96&height=96")
            self.assertEqual(answer.status, 200, answer.body)
            self.assertTrue(answer.headers["content-type"].startswith("image/"))
        self.assertEqual(len(self.asked), 1)
        self.assertEqual((await self.fetch()).body, png(400, 300))
        self.assertEqual(len(self.asked), 1)

    async def test_the_thumbnail_of_what_is_no_picture_keeps_the_file(self) -> None:
        self.reply_file(b"no picture", "text/plain")
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        answer = await self.get(path + "?width=96&height=96")
        self.assertGreaterEqual(answer.status, 400)
        self.assertEqual((await self.fetch()).body, b"no picture")
        self.assertEqual(len(self.asked), 1)

    async def test_allow_remote_false_asks_nobody(self) -> None:
        self.reply_file(b"file")
        answer = await self.get(self.path() + "?allow_remote=false")
        self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))
        self.assertEqual(self.asked, [])
        await self.fetch()
        answer = await self.get(self.path() + "?allow_remote=false")
        self.assertEqual(answer.body, b"file")

    async def test_our_own_name_is_never_asked(self) -> None:
        """R21."""
        answer = await self.get(f"{DOWNLOAD}/{HOST}/unknown")
        self.assertEqual(answer.status, 404)
        self.assertEqual(self.dns.asked, [])

    async def test_the_origin_may_wait_for_the_upload_as_long_as_we_may(self) -> None:
        """D24: 0 is 0."""
        body = b'{"errcode": "M_NOT_YET_UPLOADED", "error": "?"}'
        self.reply_with(504, body)
        for wait in ("0", "7000"):
            answer = await self.get(f"{self.path()}?timeout_ms={wait}")
            self.assertEqual(answer.status, 504)
            self.assertEqual(answer.json["errcode"], "M_NOT_YET_UPLOADED")
            self.assertTrue(self.asked[-1].target.endswith(f"?timeout_ms={wait}"))
        self.assertEqual(len(self.asked), 2, "what is yet to come is not remembered")
        self.reply_file(b"uploaded")
        self.assertEqual((await self.fetch()).body, b"uploaded")

    async def test_attempts_are_counted_under_one_label(self) -> None:
        """R107: what strangers name is no label. MMR counts fallbacks too."""

        def old_server(connection: StubConnection, seen: Seen) -> None:
            if seen.target.startswith("/_matrix/media/v3/"):
                connection.reply(200, b"old")
            else:
                connection.reply(404, b'{"errcode": "M_UNRECOGNIZED"}')

        self.media = old_server
        before = attempts("other")
        self.assertEqual((await self.fetch()).body, b"old")
        self.assertEqual(attempts("other") - before, 4)
        self.assertEqual(attempts(self.name), 0)

    async def test_the_type_of_a_remote_file_is_no_way_in(self) -> None:
        """R3, R4."""
        for number, (sent, shown, kind) in enumerate(
            (
                ("text/html", "text/html", "attachment"),
                ("image/png, text/html", "application/octet-stream", "attachment"),
                ("x" * 300 + "/y", "application/octet-stream", "attachment"),
            )
        ):
            self.reply_file(b"<script>", sent)
            for _ in range(2):
                answer = await self.fetch(f"id{number}")
                self.assertEqual(answer.headers["content-type"], shown)
                self.assertTrue(answer.headers["content-disposition"].startswith(kind))

    async def test_msc1902_clients_get_the_same(self) -> None:
        self.reply_file(png(400, 300))
        for prefix in (
            "/_matrix/client/r0/media",
            "/_matrix/client/unstable/org.matrix.msc1902/media",
        ):
            answer = await self.get(self.path(prefix=f"{prefix}/download"))
            self.assertEqual(answer.body, png(400, 300))
            thumbnail = self.path(prefix=f"{prefix}/thumbnail") + "?width=9&height=9"
            self.assertEqual((await self.get(thumbnail)).status, 200)
            self.assertEqual((await self.get(f"{prefix}/config")).status, 200)
            uploaded = await self.request("POST", f"{prefix}/upload", body=b"x")
            self.assertTrue(uploaded.json["content_uri"].startswith(f"mxc://{HOST}/"))
        self.assertEqual(len(self.asked), 1)


class FreezeTest(RemoteCase):
    """MSC3916 for remote media; the setting is on by default."""

    async def test_strangers_make_us_ask_nobody(self) -> None:
        """R41."""
        self.reply_file(b"file")
        for prefix in (*OLD_PATHS, "/_matrix/client/r0/media"):
            for action in ("download", "thumbnail"):
                path = self.path(prefix=f"{prefix}/{action}")
                answer = await self.get(path + "?width=9&height=9", token=None)
                self.assertEqual(answer.status, 404)
                self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")
        self.assertEqual((self.asked, self.dns.asked), ([], []))

    async def test_what_was_fetched_is_frozen(self) -> None:
        self.reply_file(b"file")
        self.assertEqual((await self.fetch()).status, 200)
        old = self.path(prefix=f"{OLD_PATHS[0]}/download")
        self.assertEqual((await self.get(old, token=None)).status, 404)
        self.assertEqual((await self.get(old)).body, b"file")

    async def test_nobody_joins_a_fetch_without_a_token(self) -> None:
        held = self.hold()
        await self.fetching()
        await held
        old = self.path(prefix=f"{OLD_PATHS[0]}/download")
        self.assertEqual((await self.get(old, token=None)).status, 404)


class ThawTest(RemoteCase):
    """With the setting turned off again."""

    def thaw(self, is_thawed: bool = True) -> None:
        repo = self.server.config.repo.model_copy(
            update={"freeze_unauthenticated_media": not is_thawed}
        )
        self.server.config = self.server.config.model_copy(update={"repo": repo})

    async def purge(self) -> None:
        await self.server.db.interaction(
            "purge", self.server.stores.media.delete_media_txn, self.name, "abc"
        )
        self.server.media_records.clear()

    async def test_open_media_is_for_everybody(self) -> None:
        self.thaw()
        self.reply_file(LARGE)
        old = self.path(prefix=f"{OLD_PATHS[0]}/download")
        for _ in range(2):
            self.assertEqual((await self.get(old, token=None)).body, LARGE)

    async def test_what_was_frozen_stays_frozen_through_purge_and_refetch(self) -> None:
        """D45."""
        self.reply_file(LARGE)
        self.assertEqual((await self.fetch()).body, LARGE)
        await self.purge()
        self.thaw()
        old = self.path(prefix=f"{OLD_PATHS[0]}/download")
        self.assertEqual((await self.get(old, token=None)).status, 404)
        self.assertEqual(len(self.asked), 1)
        self.assertEqual((await self.fetch()).body, LARGE)
        self.assertEqual((await self.get(old, token=None)).status, 404)
        self.assertEqual(await self.count("restricted_media"), 1)

    async def test_a_frozen_life_after_an_open_one(self) -> None:
        self.thaw()
        self.reply_file(b"file")
        await self.fetch()
        await self.purge()
        self.thaw(False)
        self.assertEqual((await self.fetch()).body, b"file")
        old = self.path(prefix=f"{OLD_PATHS[0]}/download")
        self.assertEqual((await self.get(old, token=None)).status, 404)


class TwoHostsTest(RemoteCase):
    """One process, two homeservers, one remote file."""

    OTHER = "second.example"

    def change_config(self, settings: dict[str, Any]) -> None:
        [first] = settings["homeservers"]
        settings["homeservers"].append({**first, "name": self.OTHER})

    async def test_hosts_that_ask_at_once_share_one_fetch(self) -> None:
        self.homeserver.users["carol-token"] = f"@carol:{self.OTHER}"
        held = self.hold()
        one, other = await self.wire(), await self.wire()
        one.send(self.head("GET", self.path()))
        head = self.head("GET", self.path(), token="carol-token")
        other.send(head.replace(HOST.encode(), self.OTHER.encode()))
        connection = await held
        send_file(connection, LARGE)
        for wire in (one, other):
            self.assertEqual(await body_of(wire), LARGE)
        self.assertEqual(len(self.asked), 1)

    async def test_a_media_of_the_other_host_is_not_fetched(self) -> None:
        """R21: it is here."""
        media_id = await self.upload(b"of the first")
        path = f"{DOWNLOAD}/{HOST}/{media_id}"
        answer = await self.get(path, token=None, host=self.OTHER)
        self.assertEqual(answer.status, 401)
        self.assertEqual(self.dns.asked, [])


class UnsignedTest(RemoteCase):
    has_key = False

    async def test_without_a_key_only_old_routes_are_asked(self) -> None:
        """And federation endpoints never, unsigned (R60)."""
        self.reply_with(200, b"old", {"Content-Type": "image/png"})
        self.assertEqual((await self.fetch()).body, b"old")
        [seen] = self.asked
        self.assertTrue(seen.target.startswith("/_matrix/media/v3/download/"))


class TwoProcessesTest(RemoteCase):
    """On one database and one folder."""

    engine = "postgres"

    async def test_processes_that_fetch_at_once_keep_one_file(self) -> None:
        """R101: leases only save work; losing them must not matter."""
        self.patch(leases, "_PATIENCE_SECONDS", 0)
        first, first_port = self.server, self._port
        held: list[StubConnection] = []

        def media(connection: StubConnection, _: Seen) -> None:
            held.append(connection)

        self.media = media
        one = await self.fetching()
        await self.start_server()
        second = self.server
        self.addCleanup(
            lambda: Deferred.fromCoroutine(self._stop_first(first, first_port))
        )
        two = await self.fetching()
        await self.eventually(lambda: len(held) == 2)
        for connection in held:
            connection.reply(200, envelope(LARGE), ENVELOPE_TYPE)
        for wire in (one, two):
            await wire._until(lambda wire=wire: wire.received.endswith(b"0\r\n\r\n"))
            self.assertEqual(await body_of(wire), LARGE)
        for server in (first, second):
            await self.eventually(lambda server=server: not server.remote_media.running)
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        await second.sweep.delete_queued()
        self.assertEqual(len(self.files()), 1)

    async def test_one_process_fetches_for_both(self) -> None:
        first, first_port = self.server, self._port
        held: list[StubConnection] = []

        def media(connection: StubConnection, _: Seen) -> None:
            held.append(connection)

        self.media = media
        one = await self.fetching()
        await self.eventually(lambda: len(held) == 1)
        await self.start_server()
        self.addCleanup(
            lambda: Deferred.fromCoroutine(self._stop_first(first, first_port))
        )
        two = await self.fetching()
        await self.eventually(lambda: self.server.remote_media.running == 1)
        held[0].reply(200, envelope(LARGE), ENVELOPE_TYPE)
        await one._until(lambda: one.received.endswith(b"0\r\n\r\n"))
        await two._until(lambda: two.received.endswith(LARGE[-1000:]))
        self.assertEqual(len(held), 1)

    async def _stop_first(self, server: MediaRepoServer, port: Any) -> None:
        await port.stopListening()
        await server.stop()
