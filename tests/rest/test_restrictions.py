"""Who gets which media: freeze, quarantine, ignored hosts (mmr-http-api.md §5)."""

from __future__ import annotations

import io

from PIL import Image

from tests.harness import HOST, SHARED_SECRET, ServerCase, png
from tests.rest.test_download import PREFIXES

LEGACY = PREFIXES[:3]
BAD_HOST = "bad.example"


class FrozenMedia(ServerCase):
    """``repo.freezeUnauthenticatedMedia``, on by default (§5.8, MSC3916)."""

    async def test_frozen_media_is_404_for_the_anonymous(self) -> None:
        media_id = await self.upload(b"data")
        for prefix in LEGACY:
            path = f"{prefix}/download/{HOST}/{media_id}"
            for token in (None, "nobody"):
                answer = await self.get(path, token=token)
                self.assertEqual(answer.status, 404)
                self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")
            self.assertEqual((await self.get(path)).status, 200)

    async def test_it_is_404_when_it_is_warm_as_well(self) -> None:
        media_id = await self.upload(b"data")
        await self.download(media_id)
        path = f"{LEGACY[0]}/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(path, token=None)).status, 404)

    async def test_the_new_path_wants_a_token(self) -> None:
        media_id = await self.upload(b"data")
        self.assertEqual((await self.download(media_id, token=None)).status, 401)
        self.assertEqual((await self.download(media_id, token="nobody")).status, 401)

    async def test_guests_may_download_on_the_new_path_only(self) -> None:
        media_id = await self.upload(b"data")
        answer = await self.download(media_id, token="guest-token")
        self.assertEqual(answer.status, 200)
        path = f"{LEGACY[0]}/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(path, token="guest-token")).status, 403)

    async def test_the_shared_secret_counts_as_somebody(self) -> None:
        media_id = await self.upload(b"data")
        path = f"{LEGACY[0]}/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(path, token=SHARED_SECRET)).status, 200)

    async def test_a_homeserver_that_is_down_is_no_404(self) -> None:
        media_id = await self.upload(b"data")
        await self.homeserver.stop()
        answer = await self.download(media_id, token="bob-token")
        self.assertIn(answer.status, (502, 503))

    async def test_thumbnails_are_frozen_too(self) -> None:
        media_id = await self.upload(png())
        await self.thumbnail(media_id)
        path = f"{LEGACY[0]}/thumbnail/{HOST}/{media_id}?width=96&height=96"
        self.assertEqual((await self.get(path, token=None)).status, 404)
        self.assertEqual((await self.get(path)).status, 200)

    async def test_an_anonymous_request_causes_no_render(self) -> None:
        """R41: also where the media itself is open."""
        media_id = await self.upload(png(300, 300))
        await self.open_up(media_id)
        path = f"{LEGACY[0]}/thumbnail/{HOST}/{media_id}?width=32&height=32"
        self.assertEqual((await self.get(path, token=None)).status, 404)
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)
        self.assertEqual((await self.get(path)).status, 200)
        self.assertEqual((await self.get(path, token=None)).status, 200)

    async def test_older_media_stays_open(self) -> None:
        media_id = await self.upload(b"data")
        await self.open_up(media_id)
        for prefix in LEGACY:
            path = f"{prefix}/download/{HOST}/{media_id}"
            answer = await self.get(path, token=None)
            self.assertEqual((answer.status, answer.body), (200, b"data"))

    async def test_no_secret_tells_whether_unknown_media_exists(self) -> None:
        frozen = await self.upload(b"data")
        answers = [
            await self.get(f"{LEGACY[0]}/download/{HOST}/{media_id}", token=None)
            for media_id in (frozen, "unknown")
        ]
        self.assertEqual([answer.status for answer in answers], [404, 404])
        self.assertEqual(answers[0].json["errcode"], answers[1].json["errcode"])

    async def open_up(self, media_id: str) -> None:
        """Make a media one from before the freeze."""

        def open_txn(txn) -> None:  # type: ignore[no-untyped-def]
            txn.execute("DELETE FROM restricted_media WHERE media_id = ?", (media_id,))

        await self.server.db.interaction("open", open_txn)
        self.server.media_records.clear()


class UnfrozenMedia(ServerCase):
    config = {
        "repo": {
            "logDirectory": "-",
            "bindAddress": "127.0.0.1",
            "freezeUnauthenticatedMedia": False,
        }
    }

    async def test_new_media_is_open_and_stays_so_until_it_is_frozen(self) -> None:
        media_id = await self.upload(png(300, 300))
        path = f"{LEGACY[0]}/download/{HOST}/{media_id}"
        self.assertEqual((await self.get(path, token=None)).status, 200)
        path = f"{LEGACY[0]}/thumbnail/{HOST}/{media_id}?width=32&height=32"
        self.assertEqual((await self.get(path, token=None)).status, 200)


class QuarantinedMedia(ServerCase):
    """The bytes are never served, whoever asks (§5.6, R85)."""

    async def test_a_download_is_404_warm_and_cold(self) -> None:
        media_id = await self.upload(b"bad", "image/png")
        await self.download(media_id)
        await self.quarantine(media_id)
        for _ in range(2):
            for token in ("alice-token", "admin-token", SHARED_SECRET):
                answer = await self.download(media_id, token=token)
                self.assertEqual(answer.status, 404)
            self.server.media_records.clear()

    async def test_every_record_of_the_bytes_is_quarantined(self) -> None:
        ids = [
            await self.upload(b"bad", token=token)
            for token in ("alice-token", "bob-token")
        ]
        await self.quarantine(ids[0])
        for media_id in ids:
            self.assertEqual((await self.download(media_id)).status, 404)

    async def test_a_thumbnail_is_a_placeholder_of_its_size(self) -> None:
        """D9, §6.7: its own type, name and length; not to be kept."""
        media_id = await self.upload(png(300, 300), "image/jpeg", "secret.jpg")
        await self.quarantine(media_id)
        answer = await self.thumbnail(media_id, "width=96&height=96&method=crop")
        self.check_placeholder(answer, (96, 96))
        self.assertEqual(self.server.thumbnail_pool.jobs_started, 0)

    async def test_the_thumbnail_that_was_made_before_is_not_shown(self) -> None:
        media_id = await self.upload(png(300, 300))
        before = await self.thumbnail(media_id)
        await self.quarantine(media_id)
        answer = await self.thumbnail(media_id)
        self.assertNotEqual(answer.body, before.body)

    async def test_nothing_tells_of_quarantined_media(self) -> None:
        media_id = await self.upload(b"bad")
        await self.quarantine(media_id)
        path = f"/_matrix/media/unstable/info/{HOST}/{media_id}"
        self.assertEqual((await self.get(path)).status, 404)

    def check_placeholder(self, answer, size) -> None:  # type: ignore[no-untyped-def]
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertEqual(
            answer.headers["content-disposition"], "inline; filename=not_allowed.png"
        )
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertNotIn("etag", answer.headers)
        self.assertEqual(Image.open(io.BytesIO(answer.body)).size, size)


class ReplacedDownloads(QuarantinedMedia):
    config = {"quarantine": {"replaceDownloads": True, "replaceThumbnails": False}}

    async def test_a_download_is_404_warm_and_cold(self) -> None:
        """With ``replaceDownloads`` it is a placeholder instead."""
        media_id = await self.upload(b"bad" * 1000, "text/plain", "secret.txt")
        await self.quarantine(media_id)
        self.check_placeholder(await self.download(media_id), (512, 512))
        wire = await self.wire()
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        wire.send(self.head("HEAD", path))
        answer = await wire.answer("HEAD")
        self.assertEqual(answer.headers["content-type"], "image/png")

    async def test_every_record_of_the_bytes_is_quarantined(self) -> None:
        ids = [
            await self.upload(b"bad", token=token)
            for token in ("alice-token", "bob-token")
        ]
        await self.quarantine(ids[0])
        for media_id in ids:
            self.check_placeholder(await self.download(media_id), (512, 512))

    async def test_a_thumbnail_is_a_placeholder_of_its_size(self) -> None:
        """With ``replaceThumbnails: false`` there is none (D10)."""
        media_id = await self.upload(png(300, 300))
        await self.quarantine(media_id)
        self.assertEqual((await self.thumbnail(media_id)).status, 404)


class IgnoredHosts(ServerCase):
    """``federation.ignoredHosts`` (§5.2)."""

    config = {"federation": {"ignoredHosts": [BAD_HOST]}}

    async def test_an_ignored_host_is_403(self) -> None:
        for origin in (BAD_HOST, BAD_HOST.upper()):
            for kind in ("download", "thumbnail"):
                path = f"/_matrix/client/v1/media/{kind}/{origin}/abc"
                for token in ("alice-token", SHARED_SECRET):
                    answer = await self.get(path + "?width=1&height=1", token=token)
                    self.assertEqual(answer.status, 403)
                    self.assertEqual(answer.json["errcode"], "M_NOT_FOUND")
                    self.assertEqual(answer.json["mr_errcode"], "M_FORBIDDEN")

    async def test_a_repository_admin_may_still_look(self) -> None:
        media_id = await self.upload(b"data")

        def rename_txn(txn) -> None:  # type: ignore[no-untyped-def]
            for table in ("media", "restricted_media"):
                txn.execute(f"UPDATE {table} SET origin = ?", (BAD_HOST,))

        await self.server.db.interaction("rename", rename_txn)
        path = f"/_matrix/client/v1/media/download/{BAD_HOST}/{media_id}"
        answer = await self.get(path, token="admin-token")
        self.assertEqual((answer.status, answer.body), (200, b"data"))
        self.assertEqual((await self.get(path)).status, 403)
