"""Info, config, usage, identicon, version, health (mmr-http-api.md §8)."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from mmr import __version__

from tests.harness import HOST, ServerCase, png
from tests.rest.test_thumbnail_refusals import huge_png

CONFIG_PATHS = (
    "/_matrix/media/r0/config",
    "/_matrix/media/v1/config",
    "/_matrix/media/v3/config",
    "/_matrix/client/v1/media/config",
)
USAGE = "/_matrix/media/unstable/org.matrix.msc4034/usage"
IDENTICON = "/_matrix/media/r0/identicon"


class Info(ServerCase):
    """§8.7, MSC2380."""

    async def info(self, media_id: str, **kwargs):  # type: ignore[no-untyped-def]
        return await self.get(
            f"/_matrix/media/unstable/info/{HOST}/{media_id}", **kwargs
        )

    async def test_a_picture(self) -> None:
        """D11: frozen media has information for those who are signed in."""
        data = png(300, 200)
        media_id = await self.upload(data)
        thumbnail = await self.thumbnail(media_id, "width=32&height=32&method=crop")
        answer = await self.info(media_id)
        self.assertEqual(
            answer.json,
            {
                "content_uri": f"mxc://{HOST}/{media_id}",
                "content_type": "image/png",
                "size": len(data),
                "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                "width": 300,
                "height": 200,
                "thumbnails": [
                    {
                        "width": 32,
                        "height": 32,
                        "ready": True,
                        "content_type": "image/png",
                        "size": len(thumbnail.body),
                    }
                ],
            },
        )
        path = f"/_matrix/media/unstable/io.t2bot.media/info/{HOST}/{media_id}"
        self.assertEqual((await self.get(path)).json, answer.json)

    async def test_what_cannot_be_looked_into_has_less(self) -> None:
        """R34: broken and bomb alike."""
        for data, content_type in (
            (b"text", "text/plain"),
            (b"\x89PNG\r\n\x1a\nrest", "image/png"),
            (huge_png(60_000, 60_000), "image/png"),
        ):
            answer = await self.info(await self.upload(data, content_type))
            self.assertEqual(answer.status, 200)
            self.assertNotIn("width", answer.json)

    async def test_errors(self) -> None:
        """D16."""
        self.assertEqual((await self.info("unknown")).status, 404)
        media_id = await self.upload(b"x")
        self.assertEqual((await self.info(media_id, token=None)).status, 401)
        self.assertEqual((await self.info(media_id + "?allow_remote=x")).status, 400)


class ConfigAndUsage(ServerCase):
    config = {
        "uploads": {"maxBytes": 5000, "minBytes": 0, "minFreeBytes": 0},
    }

    async def test_config_on_every_path(self) -> None:
        """§8.1."""
        for path in CONFIG_PATHS:
            answer = await self.get(path)
            self.assertEqual(
                (answer.status, answer.json), (200, {"m.upload.size": 5000})
            )
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertEqual((await self.get(path, token=None)).status, 401)

    async def test_the_reported_limit_can_differ(self) -> None:
        for reported, expected in ((1234, {"m.upload.size": 1234}), (-1, {})):
            self.config = {"uploads": {"reportedMaxBytes": reported}}
            await self.stop_server()
            self.write_config(self.homeserver.url)
            await self.start_server()
            self.assertEqual((await self.get(CONFIG_PATHS[0])).json, expected)

    async def test_usage(self) -> None:
        """§8.2."""
        self.assertEqual((await self.get(USAGE)).json, {})
        await self.upload(b"12345")
        await self.upload(b"12345", "other/type")
        self.assertEqual(
            (await self.get(USAGE)).json,
            {
                "org.matrix.msc4034.storage.used": 10,
                "org.matrix.msc4034.storage.files": 2,
            },
        )
        self.assertEqual((await self.get(USAGE, token="bob-token")).json, {})


class Identicons(ServerCase):
    """§8.4."""

    async def test_a_picture_of_the_seed(self) -> None:
        one = await self.get(f"{IDENTICON}/alice", token=None)
        self.assertEqual((one.status, one.headers["content-type"]), (200, "image/png"))
        self.assertEqual(Image.open(io.BytesIO(one.body)).size, (96, 96))
        disposition = one.headers["content-disposition"]
        self.assertRegex(disposition, r"^inline; filename=[0-9a-f]{32}\.png$")
        self.assertEqual(one.headers["cache-control"], "private, max-age=259200")
        same = await self.get(f"{IDENTICON}/alice")
        other = await self.get(f"{IDENTICON}/a/b/c")
        self.assertEqual(same.body, one.body)
        self.assertNotEqual(other.body, one.body)

    async def test_sizes_are_clamped(self) -> None:
        for query, size in (
            ("width=200", (200, 200)),
            ("width=200&height=100", (200, 100)),
            ("width=1", (96, 96)),
            ("width=100000&height=-3", (512, 96)),
        ):
            answer = await self.get(f"{IDENTICON}/alice?{query}")
            self.assertEqual(Image.open(io.BytesIO(answer.body)).size, size, query)

    async def test_a_bad_size_is_400(self) -> None:
        """D16."""
        for query in ("width=a", "height=1.5", "width=" + "9" * 50):
            answer = await self.get(f"{IDENTICON}/alice?{query}")
            self.assertEqual(answer.status, 400)

    async def test_they_can_be_turned_off(self) -> None:
        self.config = {"identicons": {"enabled": False}}
        await self.stop_server()
        self.write_config(self.homeserver.url)
        await self.start_server()
        self.assertEqual((await self.get(f"{IDENTICON}/alice")).status, 404)


class ServerInfo(ServerCase):
    """§8.3."""

    async def test_version(self) -> None:
        answer = await self.get("/_matrix/media/version", token=None)
        self.assertEqual(answer.json["Version"], __version__)
        self.assertEqual(
            set(answer.json), {"Version", "GitCommit", "unstable_features"}
        )

    async def test_health_needs_neither_host_nor_homeserver(self) -> None:
        await self.homeserver.stop()
        for token in (None, "alice-token", "nobody"):
            answer = await self.get("/healthz", token=token, host="unknown.example")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.json["ok"], True)
        wire = await self.wire()
        wire.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((await wire.answer("HEAD")).status, 200)
